import { Effect } from "effect"
import type { Run } from "./report.ts"
export const section = (_: Run) => ""
export const writeSection = (..._: ReadonlyArray<string>) => Effect.void
