/**
 * A small assembler for BPF with named registers, operations and labels.
 *
 * Facts: Documentation/bpf/standardization/instruction-set.rst.
 *
 * @module
 */

/**
 * A register. r0 holds results, r1 to r5 hold arguments, r6 to r9 survive calls,
 * r10 is the frame pointer.
 */
export type Register = { readonly register: number };

export const [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10]:
  readonly Register[] = Array.from(
    { length: 11 },
    (_, register) => ({ register }),
  );

/** One instruction, or a label for jumps. */
export type Statement =
  | { readonly label: string }
  | {
    readonly opcode: number;
    readonly destination?: Register;
    readonly source?: Register | number;
    readonly offset?: number;
    /** The label to jump to. */
    readonly target?: string;
    readonly immediate?: number;
    /** The label to which the immediate is the distance. */
    readonly immediateTarget?: string;
    /** The high half of a 64-bit immediate; such an instruction takes two slots. */
    readonly immediateHigh?: number;
  };

/** A target for jumps. */
export function label(name: string): Statement {
  return { label: name };
}

/** `destination = source` */
export function move(destination: Register, source: Register | number) {
  return alu(0xb0, destination, source);
}

/** `destination += source` */
export function add(destination: Register, source: Register | number) {
  return alu(0x00, destination, source);
}

/** `destination -= source` */
export function subtract(destination: Register, source: Register | number) {
  return alu(0x10, destination, source);
}

/** `destination *= factor` */
export function multiply(destination: Register, factor: number) {
  return alu(0x20, destination, factor);
}

/** `destination |= source` */
export function or(destination: Register, source: Register | number) {
  return alu(0x40, destination, source);
}

/** `destination &= source` */
export function and(destination: Register, source: Register | number) {
  return alu(0x50, destination, source);
}

/** `destination ^= source` */
export function xor(destination: Register, source: Register | number) {
  return alu(0xa0, destination, source);
}

/** `destination <<= bits` */
export function shiftLeft(destination: Register, bits: number) {
  return alu(0x60, destination, bits);
}

/** `destination >>= bits`, unsigned */
export function shiftRight(destination: Register, bits: number) {
  return alu(0x70, destination, bits);
}

/** `destination = *(u64 *)(source + offset)` */
export function load64(
  destination: Register,
  source: Register,
  offset: number,
): Statement {
  return { opcode: 0x79, destination, source, offset };
}

/** `destination = *(u32 *)(source + offset)` */
export function load32(
  destination: Register,
  source: Register,
  offset: number,
): Statement {
  return { opcode: 0x61, destination, source, offset };
}

/** `*(u64 *)(destination + offset) = source` */
export function store64(
  destination: Register,
  offset: number,
  source: Register,
): Statement {
  return { opcode: 0x7b, destination, source, offset };
}

/** `*(u16 *)(destination + offset) = source` */
export function store16(
  destination: Register,
  offset: number,
  source: Register,
): Statement {
  return { opcode: 0x6b, destination, source, offset };
}

/** `destination = number`, of 64 bits */
export function moveWide(destination: Register, number: bigint): Statement {
  return {
    opcode: 0x18,
    destination,
    immediate: Number(BigInt.asIntN(32, number)),
    immediateHigh: Number(BigInt.asIntN(32, number >> 32n)),
  };
}

/** `destination = address of the function` that begins at a label. */
export function functionAt(destination: Register, target: string): Statement {
  const BPF_PSEUDO_FUNC = 4;
  return {
    opcode: 0x18,
    destination,
    source: BPF_PSEUDO_FUNC,
    immediateTarget: target,
    immediateHigh: 0,
  };
}

/** `destination = address of the value of an array map` */
export function mapValue(destination: Register, mapFd: number): Statement {
  const BPF_PSEUDO_MAP_VALUE = 2;
  return {
    opcode: 0x18,
    destination,
    source: BPF_PSEUDO_MAP_VALUE,
    immediate: mapFd,
    immediateHigh: 0,
  };
}

/** Jumps. */
export function jump(target: string): Statement {
  return { opcode: 0x05, target };
}

/** Jumps if `left == right`. */
export function jumpIfEqual(
  left: Register,
  right: Register | number,
  target: string,
): Statement {
  return jumpIf(0x10, left, right, target);
}

/** Jumps if `left != right`. */
export function jumpIfNotEqual(
  left: Register,
  right: Register | number,
  target: string,
): Statement {
  return jumpIf(0x50, left, right, target);
}

/** Jumps if `left >= right`, unsigned. */
export function jumpIfNotBelow(
  left: Register,
  right: Register | number,
  target: string,
): Statement {
  return jumpIf(0x30, left, right, target);
}

/** Jumps if `(left & bits) != 0`; the bits are sign-extended. */
export function jumpIfAny(
  left: Register,
  bits: number,
  target: string,
): Statement {
  return jumpIf(0x40, left, bits, target);
}

/** Calls a kernel helper by its number. The result is in r0. */
export function call(helper: number): Statement {
  return { opcode: 0x85, immediate: helper };
}

/** Returns r0. */
export function exit(): Statement {
  return { opcode: 0x95 };
}

/** A 64-bit operation on a register and a register or constant. */
function alu(
  operation: number,
  destination: Register,
  source: Register | number,
): Statement {
  const ALU64 = 0x07;
  return withOperand(operation | ALU64, destination, source);
}

function jumpIf(
  condition: number,
  left: Register,
  right: Register | number,
  target: string,
): Statement {
  const JMP = 0x05;
  return { ...withOperand(condition | JMP, left, right), target };
}

function withOperand(
  opcode: number,
  destination: Register,
  source: Register | number,
) {
  const FROM_REGISTER = 0x08;
  return typeof source === "number"
    ? { opcode, destination, immediate: source }
    : { opcode: opcode | FROM_REGISTER, destination, source };
}

/** Finds the places of all labels, in instructions from the start of a program. */
export function placesOf(
  program: readonly Statement[],
): { places: ReadonlyMap<string, number>; length: number } {
  const places = new Map<string, number>();
  let length = 0;
  for (const statement of program) {
    if ("label" in statement) places.set(statement.label, length);
    else length += statement.immediateHigh === undefined ? 1 : 2;
  }
  return { places, length };
}

/** Size of an instruction, in bytes. */
export const INSTRUCTION_SIZE = 8;

/**
 * Assembles a program.
 *
 * @throws RangeError if a jump has no such label.
 */
export function assemble(
  program: readonly Statement[],
): Uint8Array<ArrayBuffer> {
  const { places, length } = placesOf(program);
  const code = new DataView(new ArrayBuffer(length * INSTRUCTION_SIZE));
  let place = 0;
  /** The distance to a label from the next instruction. */
  const distance = (target: string) => {
    const to = places.get(target);
    if (to === undefined) throw new RangeError(`no label ${target}`);
    return to - place - 1;
  };
  for (const statement of program) {
    if ("label" in statement) continue;
    const { opcode, destination, source, target, immediateTarget } = statement;
    const at = place * INSTRUCTION_SIZE;
    code.setUint8(at, opcode);
    code.setUint8(at + 1, numberOf(destination) | numberOf(source) << 4);
    code.setInt16(
      at + 2,
      target === undefined ? statement.offset ?? 0 : distance(target),
      true,
    );
    code.setInt32(
      at + 4,
      immediateTarget === undefined
        ? statement.immediate ?? 0
        : distance(immediateTarget),
      true,
    );
    place++;
    if (statement.immediateHigh !== undefined) {
      code.setInt32(
        place * INSTRUCTION_SIZE + 4,
        statement.immediateHigh,
        true,
      );
      place++;
    }
  }
  return new Uint8Array(code.buffer);
}

function numberOf(operand: Register | number | undefined): number {
  return typeof operand === "object" ? operand.register : operand ?? 0;
}
