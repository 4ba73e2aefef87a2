/**
 * What processes have spent: processor time of any process and of a whole server with its children, and memory, from `/proc`.
 * Where there is none of that, as on macOS, it is not known.
 */
import { readdirSync, readFileSync } from "node:fs"

/** How many ticks the kernel counts each second, on every Linux that Node runs on. */
const microsPerTick = 10_000

interface Ticks {
  readonly own: number
  /** Of children that have ended and were waited for. */
  readonly reaped: number
  readonly parent: number
}

const ticksOf = (pid: number | string): Ticks | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name of the program is in parentheses, and may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number)
    const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15)
    return { own: utime + stime, reaped: cutime + cstime, parent: fields[1] ?? 0 }
  } catch {
    return undefined
  }
}

/** Processor time of one process, in microseconds. */
export const cpuMicrosOf = (pid: number): number | undefined => {
  const ticks = ticksOf(pid)
  return ticks === undefined ? undefined : ticks.own * microsPerTick
}

/** Processor time of the processes that this one has started and that have ended, in microseconds. */
export const reapedCpuMicros = (): number => (ticksOf("self")?.reaped ?? 0) * microsPerTick

/** Processor time of a Postgres, by the process id of its postmaster: itself, its children, and those of them that ended. */
export const serverCpuMicros = (postmaster: number): number | undefined => {
  const server = ticksOf(postmaster)
  if (server === undefined) return undefined
  let ticks = server.own + server.reaped
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const process = ticksOf(name)
    if (process?.parent === postmaster) ticks += process.own
  }
  return ticks * microsPerTick
}

/** Resident memory of a process, in megabytes. */
export const megabytesOf = (pid: number): number | undefined => {
  try {
    const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024
  } catch {
    return undefined
  }
}
