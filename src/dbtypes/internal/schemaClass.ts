/**
 * A class that is a schema of its own instances, as Effect's `BigDecimal` and `DateTime.Utc` have one: it accepts instances,
 * and stands as text in Postgres's notation wherever a codec needs JSON or strings. Its instances are frozen, equal by value,
 * print themselves, and are query parameters as they are.
 *
 * The parts of an instance are not checked here: nobody but the module of a type makes instances of it.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import { NodeInspectSymbol } from "effect/Inspectable"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { InvalidText } from "../DbTypeError.ts"

/** What every value of this room is, beside its own parts. */
export interface Value extends Equal.Equal, PgTypes.Parameter {
  toString(): string
  toJSON(): string
}

export interface Options<Fields> {
  /** `holdfast/dbtypes/<Name>` */
  readonly identifier: string
  /** The type of a parameter that is such a value. */
  readonly oid: number
  readonly fromString: (text: string) => Result.Result<Fields, InvalidText>
  readonly format: (self: Fields) => string
  readonly equals: (self: Fields, that: Fields) => boolean
  readonly hash: (self: Fields) => number
  /** What the client's codec of that type takes for such a value: by default the value. */
  readonly parameter?: (self: Fields) => unknown
  /** What all instances share beside. */
  readonly proto?: object
  /** What is done to a new instance, instead of freezing it. */
  readonly onInstance?: (self: object) => void
}

/** A schema of its own instances, for `instanceof` too. */
export interface SchemaClass<Self> extends Schema.declare<Self> {
  readonly prototype: Self
}

/** The key, on each instance, that tells of which class it is, also across two copies of this module. */
export const typeId = (identifier: string): string => `~${identifier}`

/** The codec between text in Postgres's notation and a value. */
export const textTransformation = <Self>(
  fromString: (text: string) => Result.Result<Self, InvalidText>,
  format: (self: Self) => string
): SchemaTransformation.Transformation<Self, string> =>
  SchemaTransformation.transformEffect<Self, string>({
    decode: (text, options) =>
      Effect.mapError(
        Effect.fromResult(fromString(text)),
        (error) => new SchemaIssue.InvalidValue({ message: error.message }, text, options)
      ),
    encode: (self) => Effect.succeed(format(self))
  })

export const schemaClass = <Fields extends object>(options: Options<Fields>): SchemaClass<Fields & Value> => {
  type Instance = Fields & Value
  const key = typeId(options.identifier)
  const name = options.identifier.slice(options.identifier.lastIndexOf("/") + 1)
  const is = (u: unknown): u is Instance => hasProperty(u, key)
  const fromString = (text: string): Result.Result<Instance, InvalidText> =>
    Result.map(options.fromString(text), (fields) => instantiate(self, fields))
  const schema: Schema.declare<Instance> = Schema.declare<Instance>(is, {
    identifier: options.identifier,
    expected: name,
    toCodecJson: () => Schema.link<Instance>()(Schema.String, textTransformation(fromString, options.format)),
    toEquivalence: () => options.equals,
    toFormatter: () => (self) => options.format(self)
  })
  // A schema is a function with the members of a schema: a class that extends it is a schema too.
  class Base extends (schema as unknown as new() => object) {
    constructor(fields: Fields) {
      super()
      Object.assign(this, fields)
      if (options.onInstance === undefined) Object.freeze(this)
      else options.onInstance(this)
    }
  }
  Object.assign(Base.prototype, {
    [key]: key,
    [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId,
    oid: options.oid,
    [Equal.symbol](this: Instance, that: unknown) {
      return is(that) && options.equals(this, that)
    },
    [Hash.symbol](this: Instance) {
      return options.hash(this)
    },
    toString(this: Instance) {
      return options.format(this)
    },
    toJSON(this: Instance) {
      return options.format(this)
    },
    [NodeInspectSymbol](this: Instance) {
      return `${name}(${options.format(this)})`
    },
    ...options.proto
  })
  Object.defineProperty(Base, "name", { value: name })
  Object.defineProperty(Base.prototype, "value", {
    get(this: Instance) {
      return options.parameter === undefined ? this : options.parameter(this)
    }
  })
  const self = Base as unknown as SchemaClass<Fields & Value>
  return self
}

/** Makes an instance of such a class, whose type keeps everyone else from doing so. */
export const instantiate = <Fields extends object>(self: SchemaClass<Fields & Value>, fields: Fields): Fields & Value =>
  new (self as unknown as new(fields: Fields) => Fields & Value)(fields)
