/** What the process that measures and those in which the cases live tell each other. */
import type { Load } from "./Case.ts"

export type Request =
  | { readonly _tag: "Sample"; readonly operation: string; readonly load: Load }
  | { readonly _tag: "Finish" }
  | { readonly _tag: "Close" }

export interface Measured {
  readonly perSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly answered: number
  /** Transactions that wrote, of all processes, by their ids. */
  readonly commitsPerSecond: number
  /** Processor time of what runs the user's code, for each operation. */
  readonly clientMicros: number
  /** Processor time of what stores; nothing where it cannot be seen. */
  readonly serverMicros: number | undefined
}

export type Reply =
  | { readonly _tag: "Open"; readonly operations: ReadonlyArray<string> }
  | { readonly _tag: "Measured"; readonly measured: Measured }
  | { readonly _tag: "Finished"; readonly stored: number; readonly megabytes: number }
