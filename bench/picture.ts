import type { Run } from "./report.ts"
export const picture = (_: Run) => ""
