/**
 * A message on its way to a server, as this process holds it, and the caller that waits for it.
 */
import type { StoredMessage } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import type { Operation } from "./definition.ts"

/** A caller in this process. It is told exactly once; afterwards nothing points at it any more. */
export interface Caller {
  /** Takes the answer. Runs the caller's fiber, so everything else must be in order before. */
  readonly settle: (answer: Answer) => void
  /** The caller has gone: interrupted, or out of time. */
  gone: boolean
}

/** A message, wherever it came from. */
export class Message {
  readonly operation: Operation
  readonly mode: "call" | "cast"
  readonly payload: unknown
  /** The payload as it is stored. */
  readonly text: string
  readonly primaryKey: string | undefined
  /** Goes before those without, and is handled under a lock. */
  readonly priority: boolean
  readonly node: number
  readonly call: number
  /** Its place in line; 0 for a message that came in directly. */
  readonly position: number
  /** When it came in: the number of messages that this node had taken in by then. */
  readonly arrival: number
  /** Who waits for it, if that is somebody in this process. */
  readonly caller: Caller | undefined
  /** What the line must be consumed to before this direct message has its turn; unknown until a statement has told. */
  horizon: number | undefined = undefined
  /** Where the line is believed to end by whoever handles this direct message without a horizon. */
  guard = 0
  /** The answer that was recorded under its key. */
  recorded: string | undefined
  /** Why the payload cannot be read, where it cannot. */
  readonly undecodable: string | undefined
  attempts = 0

  constructor(
    operation: Operation,
    mode: "call" | "cast",
    payload: unknown,
    text: string,
    primaryKey: string | undefined,
    priority: boolean,
    node: number,
    call: number,
    position: number,
    arrival: number,
    caller: Caller | undefined,
    recorded?: string | undefined,
    undecodable?: string | undefined
  ) {
    this.operation = operation
    this.mode = mode
    this.payload = payload
    this.text = text
    this.primaryKey = primaryKey
    this.priority = priority
    this.node = node
    this.call = call
    this.position = position
    this.arrival = arrival
    this.caller = caller
    this.recorded = recorded
    this.undecodable = undecodable
  }

  /** The same for every attempt at it, in whichever process. */
  get id(): string {
    return `${this.node}.${this.call}`
  }

  stored(): StoredMessage {
    return {
      mode: this.mode,
      rpc: this.operation.tag,
      payload: this.text,
      primaryKey: this.primaryKey,
      priority: this.priority,
      node: this.node,
      call: this.call
    }
  }
}
