/**
 * C structures: tables of their fields, and readers that use these tables.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";

/** Data from the system does not have its documented form. */
export class MalformedData extends RcapError {
  override name = "MalformedData";
}

/** Kinds of little-endian numbers; `text` is a string of up to that many bytes. */
export type FieldKind = "i32" | "u32" | "i64" | "u64" | { text: number };

/** A field's offset in bytes and its kind. */
export type Field = readonly [offset: number, kind: FieldKind];

/** A structure. */
export interface Struct<Name extends string = string> {
  /** Its name in C, for messages. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  readonly fields: Readonly<Record<Name, Field>>;
}

/** Size of a field in bytes. */
export function fieldSize(kind: FieldKind): number {
  if (typeof kind === "object") return kind.text;
  return kind === "i32" || kind === "u32" ? 4 : 8;
}

/**
 * Defines a structure by its table. Fields that are not needed may be left out.
 *
 * @throws RangeError if the table cannot be right: a field exceeds the size,
 * overlaps another, or is not aligned.
 */
export function defineStruct<Name extends string>(
  struct: Struct<Name>,
): Struct<Name> {
  let end = 0;
  // The table lists the fields in order.
  for (const [name, [offset, kind]] of Object.entries<Field>(struct.fields)) {
    const size = fieldSize(kind);
    const isAligned = typeof kind === "object" || offset % size === 0;
    if (offset < end || offset + size > struct.size || !isAligned) {
      throw new RangeError(`${struct.name}.${name} is not at ${offset}`);
    }
    end = offset + size;
  }
  if (struct.size % 8 !== 0) {
    throw new RangeError(`${struct.name} has not ${struct.size} bytes`);
  }
  return struct;
}

const decoder = new TextDecoder();

/** Reads structures of one kind from bytes. */
export class StructReader<Name extends string> {
  readonly #struct: Struct<Name>;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(struct: Struct<Name>, bytes: Uint8Array) {
    this.#struct = struct;
    this.#bytes = bytes;
    const { buffer, byteOffset, byteLength } = bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /**
   * Moves to the structure at an offset of the bytes.
   *
   * @throws MalformedData if it does not end within them.
   */
  moveTo(at: number): void {
    const { name, size } = this.#struct;
    if (at < 0 || at + size > this.#bytes.length) {
      throw new MalformedData(
        `${name} at byte ${at} does not end within ${this.#bytes.length} bytes`,
      );
    }
    this.#at = at;
  }

  /**
   * Returns a number.
   *
   * @throws MalformedData if it is too large to be exact.
   */
  number(field: Name): number {
    const [offset, kind] = this.#struct.fields[field];
    const at = this.#at + offset;
    switch (kind) {
      case "i32":
        return this.#view.getInt32(at, true);
      case "u32":
        return this.#view.getUint32(at, true);
    }
    const value = Number(this.bigint(field));
    if (!Number.isSafeInteger(value)) {
      throw new MalformedData(
        `${this.#struct.name}.${field} is out of range: ${value}`,
      );
    }
    return value;
  }

  /**
   * Returns a number that counts something.
   *
   * @throws MalformedData if it is negative or greater than `most`.
   */
  count(field: Name, most: number): number {
    const value = this.number(field);
    if (value < 0 || value > most) {
      throw new MalformedData(
        `${this.#struct.name}.${field} is ${value}, which is not between 0 and ${most}`,
      );
    }
    return value;
  }

  /** Returns a number of 64 bits. */
  bigint(field: Name): bigint {
    const [offset, kind] = this.#struct.fields[field];
    const at = this.#at + offset;
    return kind === "i64"
      ? this.#view.getBigInt64(at, true)
      : this.#view.getBigUint64(at, true);
  }

  /** Returns a text, up to its zero byte or the end of the field. */
  text(field: Name): string {
    const [offset, kind] = this.#struct.fields[field];
    const from = this.#at + offset;
    const bytes = this.#bytes.subarray(from, from + fieldSize(kind));
    const end = bytes.indexOf(0);
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}
