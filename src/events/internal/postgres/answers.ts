/**
 * What the verdict on an append, a link or a deletion is to whoever asked for it: a number, or an error that names the reason.
 */
import * as Effect from "effect/Effect"
import {
  DuplicateEvent,
  EventNotFound,
  type EventStoreError,
  type ExpectedVersion,
  InvalidEvent,
  StoreUnavailable,
  StreamDeleted,
  StreamNotFound,
  WrongExpectedVersion
} from "../../EventStoreError.ts"
import { failure } from "../checks.ts"
import type { Verdict } from "./groups.ts"
import type { Reader } from "./reader.ts"

/** The number of the last event; `undefined` where it was done, and the answer that told the number was lost. */
export const answersOf = (reader: Pick<Reader, "open">) =>
(
  store: string,
  eventStreamId: string,
  expectedVersion: ExpectedVersion,
  verdict: Verdict
): Effect.Effect<number | undefined, EventStoreError> => {
  switch (verdict._tag) {
    case "Done":
      return Effect.succeed(verdict.version)
    case "WrongVersion":
      return Effect.fail(failure(
        new WrongExpectedVersion({ store, eventStreamId, expectedVersion, currentVersion: verdict.version })
      ))
    case "Known":
      return Effect.fail(failure(
        new DuplicateEvent({
          store,
          eventStreamId: verdict.stream,
          eventId: verdict.eventId,
          eventNumber: verdict.version
        })
      ))
    case "Unknown":
      return Effect.fail(failure(new EventNotFound({ store, eventId: verdict.eventId })))
    case "Deleted":
      return Effect.fail(failure(new StreamDeleted({ store, eventStreamId })))
    case "Missing":
      return Effect.fail(failure(new StreamNotFound({ store, eventStreamId })))
    case "Failed":
      // The store may be the reason; if it is there, the server does not take the event.
      return Effect.andThen(
        reader.open(store),
        Effect.fail(failure(new InvalidEvent({ store, eventStreamId, field: "event", issue: verdict.problem })))
      )
    case "Again":
    case "Busy":
      return Effect.fail(failure(
        new StoreUnavailable({
          store,
          operation: "append",
          detail: `"${eventStreamId}" is locked by a transaction`,
          mayBeDone: false
        })
      ))
  }
}
