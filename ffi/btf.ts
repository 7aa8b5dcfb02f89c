/**
 * BTF, the kernel's description of its own types: the offsets of struct members,
 * and the ids by which BPF refers to functions.
 *
 * Facts: Documentation/bpf/btf.rst, include/uapi/linux/btf.h.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";
import { File } from "./file.ts";

/** The description of the running kernel. */
const KERNEL_BTF = "/sys/kernel/btf/vmlinux";

const MAGIC = 0xeb9f;

/** Kinds of types that rcap looks up. */
export const BtfKind = { STRUCT: 4, UNION: 5, ENUM: 6, FUNC: 12 } as const;
export type BtfKind = typeof BtfKind[keyof typeof BtfKind];

/**
 * 32-bit words after the three that every type has, by kind: a fixed number, and a
 * number per element.
 */
const EXTRA_WORDS: readonly (readonly [fixed: number, each: number])[] = [
  [0, 0], // void
  [1, 0], // int
  [0, 0], // pointer
  [3, 0], // array
  [0, 3], // struct
  [0, 3], // union
  [0, 2], // enum
  [0, 0], // forward declaration
  [0, 0], // typedef
  [0, 0], // volatile
  [0, 0], // const
  [0, 0], // restrict
  [0, 0], // function
  [0, 2], // function prototype
  [1, 0], // variable
  [0, 3], // section
  [0, 0], // float
  [1, 0], // declaration tag
  [0, 0], // type tag
  [0, 3], // enum of 64 bits
];

/** BTF is malformed or lacks a type or member. */
export class BtfError extends RcapError {
  override name = "BtfError";
}

const encoder = new TextEncoder();

/** Parsed types. */
export class Btf {
  readonly #types: Uint32Array;
  readonly #strings: Uint8Array;
  /** Index in `#types` at which each type begins, by id; id 0 is void. */
  readonly #places: Uint32Array;

  private constructor(
    types: Uint32Array,
    strings: Uint8Array,
    places: Uint32Array,
  ) {
    this.#types = types;
    this.#strings = strings;
    this.#places = places;
  }

  /**
   * Reads the types of the running kernel.
   *
   * @throws SystemError if the kernel does not describe itself.
   */
  static ofKernel(): Btf {
    using file = File.open(KERNEL_BTF);
    return Btf.parse(file.readAll());
  }

  /**
   * Parses little-endian BTF.
   *
   * @throws BtfError if it is malformed.
   */
  static parse(bytes: Uint8Array<ArrayBuffer>): Btf {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < 24 || view.getUint16(0, true) !== MAGIC) {
      throw new BtfError("BTF: no header, or another byte order");
    }
    // struct btf_header: hdr_len 4, type_off 8, type_len 12, str_off 16, str_len 20.
    const word = (offset: number) => view.getUint32(offset, true);
    const body = bytes.subarray(word(4));
    const typeBytes = body.slice(word(8), word(8) + word(12));
    const strings = body.subarray(word(16), word(16) + word(20));
    if (
      typeBytes.length !== word(12) || typeBytes.length % 4 !== 0 ||
      strings.length !== word(20)
    ) {
      throw new BtfError("BTF: shorter than its header says");
    }
    const types = new Uint32Array(typeBytes.buffer);
    return new Btf(types, strings, placesOf(types));
  }

  /**
   * Returns the id of a type by kind and name.
   *
   * @throws BtfError if there is no such type.
   */
  idOf(kind: BtfKind, name: string): number {
    const wanted = encoder.encode(name);
    for (let id = 1; id < this.#places.length; id++) {
      const at = this.#places[id];
      if (this.#kind(at) !== kind || !this.#isNamed(this.#types[at], wanted)) {
        continue;
      }
      // A struct without members is only a declaration.
      if (kind === BtfKind.FUNC || this.#count(at) > 0) return id;
    }
    throw new BtfError(`BTF: this kernel has no ${kindName(kind)} ${name}`);
  }

  /**
   * Returns the offset of a member of a struct, in bytes. Finds members of
   * anonymous structs and unions in it too.
   *
   * @throws BtfError if there is no such struct or member.
   */
  offsetOf(struct: string, member: string): number {
    const id = this.idOf(BtfKind.STRUCT, struct);
    const offset = this.#findMember(id, encoder.encode(member));
    if (offset === undefined) {
      throw new BtfError(
        `BTF: this kernel's struct ${struct} has no member ${member}`,
      );
    }
    return offset;
  }

  /** {@linkcode offsetOf}; `undefined` if this kernel has no such struct or member. */
  offsetIfAny(struct: string, member: string): number | undefined {
    try {
      return this.offsetOf(struct, member);
    } catch (error) {
      if (!(error instanceof BtfError)) throw error;
      return undefined;
    }
  }

  /**
   * Returns the size of a struct, in bytes.
   *
   * @throws BtfError if there is no such struct.
   */
  sizeOf(struct: string): number {
    return this.#types[this.#places[this.idOf(BtfKind.STRUCT, struct)] + 2];
  }

  /**
   * Returns the value of a member of an enum.
   *
   * @throws BtfError if there is no such enum or member.
   */
  valueOf(name: string, member: string): number {
    const wanted = encoder.encode(member);
    const at = this.#places[this.idOf(BtfKind.ENUM, name)];
    for (let i = 0; i < this.#count(at); i++) {
      // struct btf_enum: name_off, val.
      const place = at + 3 + i * 2;
      if (this.#isNamed(this.#types[place], wanted)) {
        return this.#types[place + 1] | 0;
      }
    }
    throw new BtfError(`BTF: this kernel's enum ${name} has no ${member}`);
  }

  /** @param seen structs already searched, so that circular BTF ends. */
  #findMember(
    id: number,
    name: Uint8Array,
    seen = new Set<number>(),
  ): number | undefined {
    seen.add(id);
    const at = this.#places[id];
    const hasBitfields = this.#types[at + 1] >>> 31 === 1;
    for (let i = 0; i < this.#count(at); i++) {
      // struct btf_member: name_off, type, offset in bits.
      const member = at + 3 + i * 3;
      const bits = this.#types[member + 2];
      const offset = (hasBitfields ? bits & 0xff_ffff : bits) / 8;
      if (this.#isNamed(this.#types[member], name)) return offset;
      if (this.#types[member] !== 0) continue;
      const inner = this.#types[member + 1];
      const kind = this.#kind(this.#places[inner]);
      if (kind !== BtfKind.STRUCT && kind !== BtfKind.UNION) continue;
      if (seen.has(inner)) continue;
      const found = this.#findMember(inner, name, seen);
      if (found !== undefined) return offset + found;
    }
    return undefined;
  }

  #kind(at: number): number {
    return kindOf(this.#types[at + 1]);
  }

  #count(at: number): number {
    return countOf(this.#types[at + 1]);
  }

  /** Whether the string at an offset is exactly a name. */
  #isNamed(offset: number, name: Uint8Array): boolean {
    const strings = this.#strings;
    for (let i = 0; i < name.length; i++) {
      if (strings[offset + i] !== name[i]) return false;
    }
    return strings[offset + name.length] === 0;
  }
}

/** Finds where each type begins. */
function placesOf(types: Uint32Array): Uint32Array {
  // A type takes at least three words.
  const places = new Uint32Array(1 + Math.ceil(types.length / 3));
  let id = 1;
  let at = 0;
  while (at < types.length) {
    places[id++] = at;
    const extra = EXTRA_WORDS[kindOf(types[at + 1])];
    if (!extra) {
      throw new BtfError(
        `BTF: type ${id - 1} is of unknown kind ${kindOf(types[at + 1])}`,
      );
    }
    at += 3 + extra[0] + extra[1] * countOf(types[at + 1]);
  }
  if (at > types.length) throw new BtfError("BTF: its last type is cut off");
  return places.subarray(0, id);
}

function kindOf(info: number): number {
  return (info >>> 24) & 0x1f;
}

function countOf(info: number): number {
  return info & 0xffff;
}

function kindName(kind: BtfKind): string {
  return Object.keys(BtfKind)[Object.values(BtfKind).indexOf(kind)]
    .toLowerCase();
}
