/**
 * The `bpf(2)` system call: the maps, programs, iterators and test runs with which
 * rcap reads the kernel.
 *
 * Facts: Documentation/bpf and include/uapi/linux/bpf.h, whose `union bpf_attr` is
 * filled in here field by field.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";
import {
  assemble,
  INSTRUCTION_SIZE,
  placesOf,
  type Statement,
} from "./bpf_assembler.ts";
import { File } from "./file.ts";
import { MappedMemory } from "./mapped_memory.ts";
import { cString, Errno, errno, errnoMessage, libc } from "./libc.ts";

// arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
const SYS_BPF: Readonly<Partial<Record<typeof Deno.build.arch, bigint>>> = {
  x86_64: 321n,
  aarch64: 280n,
};

/** Commands. */
const BPF_MAP_CREATE = 0;
const BPF_PROG_LOAD = 5;
const BPF_PROG_TEST_RUN = 10;
const BPF_BTF_LOAD = 18;
const BPF_LINK_CREATE = 28;
const BPF_ITER_CREATE = 33;

const BPF_MAP_TYPE_ARRAY = 2;
const BPF_F_MMAPABLE = 1 << 10;
const BPF_PROG_TYPE_TRACING = 26;
const BPF_PROG_TYPE_SYSCALL = 31;
const BPF_TRACE_ITER = 28;
const BPF_F_SLEEPABLE = 1 << 4;

/** Helpers that programs call. */
export const BPF_PROBE_READ_KERNEL = 113;
export const BPF_SEQ_WRITE = 127;
/** Since Linux 5.17. */
export const BPF_LOOP = 181;

/**
 * Larger than any `union bpf_attr` whose fields are set here; the kernel requires
 * the rest to be zero.
 */
const ATTRIBUTE_SIZE = 144;
const LOG_SIZE = 64 * 1024;

/**
 * Helpers that read kernel memory are available only to programs with a
 * GPL-compatible license.
 */
const LICENSE = cString("Dual MIT/GPL");

/** A `bpf` call that the kernel refused. */
export class BpfError extends RcapError {
  override name = "BpfError";
  readonly errno: number;

  constructor(what: string, errno: number, log = "") {
    super(`bpf: ${what}: ${errnoMessage(errno)}${log && `\n${log}`}`);
    this.errno = errno;
  }
}

/** The attributes of a call. */
class Attributes {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(ATTRIBUTE_SIZE);
  readonly #view = new DataView(this.bytes.buffer);
  /** What the attributes point to must outlive the call. */
  readonly #kept: ArrayBufferView[] = [];

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  /** Sets a field to the address of a buffer. */
  address(offset: number, buffer: ArrayBufferView<ArrayBuffer>): this {
    this.#kept.push(buffer);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
    this.#view.setBigUint64(offset, BigInt(address), true);
    return this;
  }
}

/** Calls `bpf`. A negative result is a negated error number. */
function bpf(command: number, { bytes }: Attributes): number {
  const number = SYS_BPF[Deno.build.arch];
  if (number === undefined) return -Errno.ENOSYS;
  const size = BigInt(bytes.byteLength);
  const result = libc().bpf(number, BigInt(command), bytes, size);
  return result < 0 ? -errno() : result;
}

/** Calls `bpf` and returns the descriptor. */
function bpfDescriptor(
  what: string,
  command: number,
  attributes: Attributes,
): File {
  const fd = bpf(command, attributes);
  if (fd < 0) throw new BpfError(what, -fd);
  return File.own(fd, what);
}

/** An array map of one value that is mapped into this process's memory. */
export class SharedMap implements Disposable {
  readonly #held: DisposableStack;
  /** The descriptor, for `mapValue` of the assembler. */
  readonly fd: number;
  /** The value: programs read and write the same bytes. */
  readonly memory: ArrayBuffer;

  /**
   * Makes a map.
   *
   * @param bytes size of its value, a multiple of the page size.
   * @throws BpfError if the kernel refuses.
   * @throws SystemError if memory has run out.
   */
  constructor(bytes: number) {
    using held = new DisposableStack();
    this.fd = held.use(bpfDescriptor(
      "make a map",
      BPF_MAP_CREATE,
      new Attributes().u32(0, BPF_MAP_TYPE_ARRAY).u32(4, 4).u32(8, bytes)
        .u32(12, 1).u32(16, BPF_F_MMAPABLE),
    )).fd;
    this.memory = held.use(MappedMemory.shared(bytes, this.fd)).contents.buffer;
    this.#held = held.move();
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** What the kernel must know to load a program. */
interface ProgramKind {
  readonly type: number;
  readonly flags?: number;
  readonly attachType?: number;
  readonly attachId?: number;
  /** The labels of functions whose addresses the program takes. */
  readonly functions?: readonly string[];
}

/** How often to try to load a program while signals arrive. */
const LOAD_ATTEMPTS = 10;

/**
 * Makes the kernel verify and load a program. The verifier gives up with EAGAIN if
 * the thread has a pending signal: `do_check` of kernel/bpf/verifier.c.
 */
function load(attributes: Attributes): number {
  for (let attempt = 1;; attempt++) {
    const fd = bpf(BPF_PROG_LOAD, attributes);
    if (fd !== -Errno.EAGAIN || attempt === LOAD_ATTEMPTS) return fd;
  }
}

/** The id of the function in {@linkcode functionTypes}. */
const FUNCTION_TYPE = 3;

/**
 * BTF that describes a static function without parameters that returns a number, as
 * far as the kernel wants to know: Documentation/bpf/btf.rst.
 */
function functionTypes(): Uint8Array<ArrayBuffer> {
  const strings = "\0int\0f\0";
  const types = [
    // int: name, BTF_KIND_INT, size; BTF_INT_SIGNED and 32 bits.
    ...[1, 1 << 24, 4, 1 << 24 | 32],
    // BTF_KIND_FUNC_PROTO, which returns type 1.
    ...[0, 13 << 24, 1],
    // BTF_KIND_FUNC named f, of type 2. Static linkage is 0.
    ...[5, 12 << 24, 2],
  ];
  const length = types.length * 4;
  const header = [24, 0, length, length, strings.length];
  const bytes = new Uint8Array(24 + length + strings.length);
  // Magic 0xeb9f, version 1.
  bytes.set(
    new Uint8Array(Uint32Array.from([0x1_eb9f, ...header, ...types]).buffer),
  );
  bytes.set(new TextEncoder().encode(strings), 24 + length);
  return bytes;
}

/**
 * Loads the types of functions: the kernel lets a program take the address of a
 * function only if it knows the function's type.
 */
function loadFunctionTypes(): File {
  const bytes = functionTypes();
  // btf 0, btf_size 16.
  return bpfDescriptor(
    "load types",
    BPF_BTF_LOAD,
    new Attributes().address(0, bytes).u32(16, bytes.length),
  );
}

/** Loads a program. An error contains the verifier's log. */
function loadProgram(
  name: string,
  program: readonly Statement[],
  { type, flags = 0, attachType = 0, attachId = 0, functions = [] }:
    ProgramKind,
): File {
  const code = assemble(program);
  using types = functions.length > 0 ? loadFunctionTypes() : undefined;
  const { places } = placesOf(program);
  // struct bpf_func_info: insn_off, type_id. The program itself is the first.
  const infos = Uint32Array.from(
    [0, ...functions.map((name) => places.get(name) ?? 0)]
      .flatMap((place) => [place, FUNCTION_TYPE]),
  );
  const attributes = () => {
    const made = new Attributes().u32(0, type)
      .u32(4, code.length / INSTRUCTION_SIZE)
      .address(8, code).address(16, LICENSE).u32(44, flags)
      .u32(68, attachType).u32(108, attachId);
    // prog_btf_fd 72, func_info_rec_size 76, func_info 80, func_info_cnt 88.
    return types
      ? made.u32(72, types.fd).u32(76, 8).address(80, infos)
        .u32(88, infos.length / 2)
      : made;
  };
  const fd = load(attributes());
  if (fd >= 0) return File.own(fd, name);
  // Loaded again to get the verifier's log.
  const log = new Uint8Array(LOG_SIZE);
  const again = load(
    attributes().u32(24, 1).u32(28, LOG_SIZE).address(32, log),
  );
  if (again >= 0) return File.own(again, name);
  const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
  throw new BpfError(`load program ${name}`, -again, text.trimEnd());
}

/** A program that runs on request, with one number as its context. */
export class SyscallProgram implements Disposable {
  readonly #file: File;
  readonly #context = new BigUint64Array(1);
  readonly #attributes: Attributes;

  /**
   * Loads a program.
   *
   * @param functions the labels of functions whose addresses it takes.
   * @throws BpfError with the verifier's log if the kernel refuses.
   */
  constructor(
    name: string,
    program: readonly Statement[],
    functions: readonly string[] = [],
  ) {
    this.#file = loadProgram(name, program, {
      type: BPF_PROG_TYPE_SYSCALL,
      flags: BPF_F_SLEEPABLE,
      functions,
    });
    // For BPF_PROG_TEST_RUN: prog_fd 0, ctx_size_in 40, ctx_in 48.
    this.#attributes = new Attributes().u32(0, this.#file.fd)
      .u32(40, this.#context.byteLength).address(48, this.#context);
  }

  /**
   * Runs the program.
   *
   * @throws BpfError if it does not run.
   */
  run(context: number): void {
    this.#context[0] = BigInt(context);
    const result = bpf(BPF_PROG_TEST_RUN, this.#attributes);
    if (result < 0) throw new BpfError("run a program", -result);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** A program that runs for every object of a kind, and the data that it writes. */
export class Iterator implements Disposable {
  readonly #held = new DisposableStack();
  readonly #link: File;

  /**
   * Loads a program.
   *
   * @param attachId the BTF id of the iterator's function, for example
   * `bpf_iter_task`.
   * @throws BpfError with the verifier's log if the kernel refuses.
   */
  constructor(
    name: string,
    program: readonly Statement[],
    attachId: number,
  ) {
    using held = new DisposableStack();
    const loaded = held.use(loadProgram(name, program, {
      type: BPF_PROG_TYPE_TRACING,
      attachType: BPF_TRACE_ITER,
      attachId,
    }));
    // link_create: prog_fd 0, target_fd 4, attach_type 8.
    this.#link = held.use(bpfDescriptor(
      "attach an iterator",
      BPF_LINK_CREATE,
      new Attributes().u32(0, loaded.fd).u32(8, BPF_TRACE_ITER),
    ));
    this.#held = held.move();
  }

  /** Runs the program for every object. Returns all that it wrote. */
  readAll(): Uint8Array<ArrayBuffer> {
    using file = bpfDescriptor(
      "make an iterator",
      BPF_ITER_CREATE,
      new Attributes().u32(0, this.#link.fd),
    );
    return file.readAll();
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
