/**
 * What can be wrong with a value of a database type: its text, its parts, or the outcome of an operation on it.
 *
 * Every function of this room that can refuse its input answers a `Result` with one of these errors; its twin whose name
 * ends in `Unsafe` throws the same error.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A text that is no value of the type it was read as, and where it stops making sense.
 *
 * **Example** (Where a text goes wrong)
 *
 * ```ts
 * import { Result } from "effect"
 * import { IntegerRange } from "holdfast/dbtypes"
 *
 * const parsed = IntegerRange.fromString("[10,2x)")
 * console.log(Result.isFailure(parsed) && parsed.failure.message)
 * // invalid int8range "[10,2x)" at position 5: expected a digit
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidText extends Schema.TaggedError<InvalidText>("holdfast/dbtypes/InvalidText")("InvalidText", {
  /** The type, by its name in Postgres. */
  typeName: Schema.String,
  /** The whole text, as it was given. */
  text: Schema.String,
  /** The index in `text`, from 0, of what is wrong; the length of the text where something is missing at its end. */
  position: Schema.Int,
  problem: Schema.String
}) {
  override get message() {
    return `invalid ${this.typeName} ${JSON.stringify(this.text)} at position ${this.position}: ${this.problem}`
  }
}

/**
 * Parts that make no value of the type.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidValue extends Schema.TaggedError<InvalidValue>("holdfast/dbtypes/InvalidValue")("InvalidValue", {
  /** The type, by its name in Postgres. */
  typeName: Schema.String,
  /** Which part it is. */
  field: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `invalid ${this.typeName}: ${this.field} ${this.problem}`
  }
}

/**
 * The outcome of an operation lies outside of what the type can hold.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutOfRange extends Schema.TaggedError<OutOfRange>("holdfast/dbtypes/OutOfRange")("OutOfRange", {
  /** The type, by its name in Postgres. */
  typeName: Schema.String,
  operation: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.typeName} out of range: ${this.operation}: ${this.problem}`
  }
}

/**
 * A union or difference of two ranges would be two ranges.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotContiguous extends Schema.TaggedError<NotContiguous>("holdfast/dbtypes/NotContiguous")(
  "NotContiguous",
  {
    operation: Schema.Literals(["union", "difference"]),
    /** Both ranges, in Postgres's notation. */
    left: Schema.String,
    right: Schema.String
  }
) {
  override get message() {
    return `the ${this.operation} of ${this.left} and ${this.right} would not be contiguous`
  }
}

/**
 * An operator was asked for that two such operands can never answer: a scalar contains nothing, a range equals no scalar.
 *
 * @since 0.1.0
 * @category errors
 */
export class OperatorNotApplicable
  extends Schema.TaggedError<OperatorNotApplicable>("holdfast/dbtypes/OperatorNotApplicable")("OperatorNotApplicable", {
    operator: Schema.String,
    left: Schema.Literals(["range", "scalar"]),
    right: Schema.Literals(["range", "scalar"]),
    applicable: Schema.Array(Schema.String)
  })
{
  override get message() {
    return `${this.operator} does not compare a ${this.left} with a ${this.right}; what does is ${
      this.applicable.join(", ")
    }`
  }
}
