/**
 * Workers that come, go, and do not answer: what a client makes of it. Over stores in memory, whose storage does as a test says.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Result, Stream } from "effect"
import { type EventGateway, EventStore, EventStoreError, GatewayWorkers, MemoryEventStore } from "holdfast/events"
import { make as makeService, storageOf } from "../../../src/events/internal/service.ts"
import type { EventStorage } from "../../../src/events/internal/storage.ts"
import { counted, range, tagOf } from "../support.ts"
import { client, token, worker } from "./support.ts"

type Services = Context.Context<EventStore.EventStore | GatewayWorkers.GatewayWorkers>

/** A store in memory and a registry, and the same with a storage that is made of the store's. */
const given = Effect.gen(function*() {
  const services: Services = yield* Layer.build(Layer.merge(MemoryEventStore.layer, Layer.fresh(GatewayWorkers.layer)))
  const store = Context.get(services, EventStore.EventStore)
  yield* store.createStore("flights")
  const scope = yield* Effect.scope
  const changed = (change: (storage: EventStorage) => Partial<EventStorage>): Services => {
    const storage = storageOf(store)
    assert.isDefined(storage)
    return Context.add(services, EventStore.EventStore, makeService({ ...storage, ...change(storage) }, 1000, scope))
  }
  return { services, store, changed }
})

const reasonOf = <A>(effect: Effect.Effect<A, EventStoreError.EventStoreError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

/** A worker that a client knows of. */
const another = Effect.fnUntraced(function*(
  services: Services,
  { gateway }: { readonly gateway: EventGateway.EventGateway["Service"] }
) {
  const one = yield* worker(services)
  yield* Effect.sleep("5 millis").pipe(
    Effect.andThen(gateway.gatewayWorkers),
    Effect.repeat({ until: (workers) => workers.some(({ id }) => id === one.id) }),
    Effect.timeout("10 seconds")
  )
  return one
})

layer(Layer.empty, { excludeTestServices: true })("workers that come and go", (it) => {
  it.effect("while there is none one is waited for, and then told of; one that comes is found", () =>
    Effect.gen(function*() {
      const { services } = yield* given
      const first = yield* worker(services)
      const port = Number(new URL(first.url).port)
      yield* first.close
      const { events } = yield* client([first.url], { timeout: "600 millis" })
      const none = yield* reasonOf(events.getVersion("flights", "SEA"))
      assert.isTrue(none._tag === "NoGatewayWorkers" && none.waitedMillis >= 500)
      assert.strictEqual(
        (yield* reasonOf(events.appendEvents("flights", "SEA", counted(0, 1))))._tag,
        "NoGatewayWorkers"
      )
      const patient = yield* client([first.url], { timeout: "10 seconds" })
      const waiting = yield* Effect.forkScoped(patient.events.appendEvents("flights", "SEA", counted(0, 1)))
      yield* Effect.sleep("100 millis")
      yield* worker(services, { port })
      assert.strictEqual(yield* Fiber.join(waiting), 0)
    }))

  it.effect("only workers that serve a store are asked for it, and every one tells the same of all stores", () =>
    Effect.gen(function*() {
      const { services, store } = yield* given
      yield* store.createStore("bookings")
      const flights = yield* worker(services, { stores: ["flights"] })
      const { events, gateway } = yield* client([flights.url], { timeout: "600 millis" })
      assert.strictEqual(yield* events.appendEvents("flights", "SEA", counted(0, 1)), 0)
      assert.strictEqual((yield* reasonOf(events.getVersion("bookings", "SEA")))._tag, "NoGatewayWorkers")
      assert.deepStrictEqual(yield* events.listStores, ["bookings", "flights"])
      const bookings = yield* worker(services, { stores: ["bookings"] })
      assert.strictEqual(yield* events.getVersion("bookings", "SEA"), -1)
      assert.deepStrictEqual(
        (yield* gateway.gatewayWorkers).map(({ id, stores }) => [id, stores]),
        [[flights.id, ["flights"]], [bookings.id, ["bookings"]]]
      )
      assert.include([flights.id, bookings.id], (yield* gateway.randomGatewayWorker).id)
      // Whoever may not know of a store is not told that a worker serves it.
      const other = yield* client([flights.url], {
        token: yield* token({ grants: [{ store: "flights", rights: ["read"] }] })
      })
      assert.deepStrictEqual((yield* other.gateway.gatewayWorkers).map(({ stores }) => stores), [["flights"], []])
    }))

  it.effect("stores are made and removed once, and the same from every worker at once", () =>
    Effect.gen(function*() {
      const { services } = yield* given
      const workers = yield* Effect.forEach(range(0, 3), () => worker(services))
      const clients = yield* Effect.forEach(range(0, 4), () => client(workers.map(({ url }) => url)))
      const made = yield* Effect.forEach(clients, ({ events }) => tagOf(events.createStore("raced")), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(made.sort(), ["AlreadyExists", "AlreadyExists", "AlreadyExists", "none"])
      for (const { events } of clients) assert.include(yield* events.listStores, "raced")
      yield* clients[0]?.events.removeStore("raced") ?? Effect.void
      for (const { events } of clients) {
        assert.strictEqual(yield* tagOf(events.getStoreStatus("raced")), "StoreNotFound")
      }
    }))

  it.effect("requests go to all workers, and to the others when one has left", () =>
    Effect.gen(function*() {
      const { changed } = yield* given
      const asked = [0, 0, 0]
      const workers = yield* Effect.forEach(asked, (_, index) =>
        worker(changed((storage) => ({
          head: (...args) =>
            Effect.suspend(() => {
              asked[index] = (asked[index] ?? 0) + 1
              return storage.head(...args)
            })
        }))))
      const { events } = yield* client([workers[0]?.url ?? ""])
      const ask = Effect.forEach(range(0, 60), () => events.getVersion("flights", "$all"), { concurrency: 6 })
      yield* ask
      for (const count of asked) assert.isAbove(count, 5)
      yield* workers[0]?.close ?? Effect.void
      asked.fill(0)
      yield* ask
      assert.strictEqual(asked[0], 0)
      assert.strictEqual((asked[1] ?? 0) + (asked[2] ?? 0), 60)
    }))
})

layer(Layer.empty, { excludeTestServices: true })("a worker that is lost mid-call", (it) => {
  /** A worker that does what it is asked, and is gone before it can say so. */
  const lost = Effect.gen(function*() {
    const { changed, services, store } = yield* given
    const done = yield* Deferred.make<void>()
    const never = <A>(effect: Effect.Effect<A, EventStoreError.EventStoreError>) =>
      Effect.andThen(Effect.andThen(effect, Deferred.succeed(done, undefined)), Effect.never)
    const first = yield* worker(changed((storage) => ({
      append: (...args) => never(storage.append(...args)),
      link: (...args) => never(storage.link(...args)),
      read: (...args) => never(storage.read(...args)),
      createStore: (...args) => never(storage.createStore(...args))
    })))
    const self = yield* client([first.url])
    const { events } = self
    /** Asks, and has the worker go when it has done it. */
    const asking = <A>(effect: Effect.Effect<A, EventStoreError.EventStoreError>) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkScoped(Effect.result(effect))
        yield* Deferred.await(done)
        yield* another(services, self)
        yield* first.close
        return yield* Fiber.join(fiber)
      })
    return { store, events, asking }
  })

  it.effect("a read is asked of another one", () =>
    Effect.gen(function*() {
      const { asking, events, store } = yield* lost
      yield* store.appendEvents("flights", "SEA", counted(0, 3))
      const result = yield* asking(events.getEvents("flights", "SEA", 0, 10))
      assert.isTrue(Result.isSuccess(result) && result.success.length === 3)
    }))

  it.effect(
    "an append succeeds once, with any expectation, with ids of its own or without",
    () =>
      Effect.gen(function*() {
        const expectations = ["any", "noStream", -1, 2, "streamExists"] as const
        for (const expectedVersion of expectations) {
          for (const ids of [true, false]) {
            yield* Effect.scoped(Effect.gen(function*() {
              const { asking, events, store } = yield* lost
              const stands = expectedVersion === 2 || expectedVersion === "streamExists" ? 3 : 0
              if (stands > 0) yield* store.appendEvents("flights", "SEA", counted(0, stands))
              const batch = counted(stands, stands + 4).map((event, n) =>
                ids ? { ...event, eventId: `00000000-0000-7000-8000-00000000000${n}` } : event
              )
              const result = yield* asking(events.appendEvents("flights", "SEA", batch, { expectedVersion }))
              assert.deepStrictEqual(result, Result.succeed(stands + 3), String(expectedVersion))
              const recorded = yield* store.getEvents("flights", "SEA", 0, 100)
              assert.deepStrictEqual(recorded.map(({ data }) => data), counted(0, stands + 4).map(({ data }) => data))
            }))
          }
        }
      }),
    60_000
  )

  it.effect("an append whose place somebody else has taken is refused as ever", () =>
    Effect.gen(function*() {
      const { changed, services, store } = yield* given
      yield* store.appendEvents("flights", "SEA", counted(0, 1))
      const asked = yield* Deferred.make<void>()
      // It is gone before it does it.
      const first = yield* worker(changed(() => ({
        append: () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)
      })))
      const self = yield* client([first.url])
      const { events } = self
      const fiber = yield* Effect.forkScoped(
        reasonOf(events.appendEvents("flights", "SEA", counted(1, 2), { expectedVersion: 0 }))
      )
      yield* Deferred.await(asked)
      yield* store.appendEvents("flights", "SEA", counted(7, 8))
      yield* another(services, self)
      yield* first.close
      const reason = yield* Fiber.join(fiber)
      assert.isTrue(reason._tag === "WrongExpectedVersion" && reason.currentVersion === 1)
      // An id that was there before is a duplicate, whoever is asked.
      const [known] = yield* store.getEvents("flights", "SEA", 0, 1)
      const again = events.appendEvents("flights", "LAX", [{ eventType: "A", data: 1, eventId: known?.eventId }])
      assert.strictEqual((yield* reasonOf(again))._tag, "DuplicateEvent")
    }))

  it.effect("links are made once", () =>
    Effect.gen(function*() {
      const { asking, events, store } = yield* lost
      yield* store.appendEvents("flights", "SEA", counted(0, 3))
      const source = yield* store.getEvents("flights", "SEA", 0, 10)
      const result = yield* asking(events.linkToStream("flights", "all", source.map(({ eventId }) => eventId)))
      assert.deepStrictEqual(result, Result.succeed(2))
      assert.lengthOf(yield* store.getEvents("flights", "all", 0, 10), 3)
    }))

  it.effect("what cannot be repeated without harm is told as what it is: it may be done", () =>
    Effect.gen(function*() {
      const { asking, events, store } = yield* lost
      const result = yield* asking(events.createStore("made"))
      assert.isTrue(
        Result.isFailure(result) && result.failure.reason._tag === "StoreUnavailable" && result.failure.reason.mayBeDone
      )
      assert.include(yield* store.listStores, "made")
    }))

  it.effect(
    "subscriptions go on where they were, with nothing left out; those of a client that has gone are free",
    () =>
      Effect.gen(function*() {
        const { services, store } = yield* given
        yield* store.appendEvents("flights", "SEA", counted(0, 20))
        let current = yield* worker(services)
        const self = yield* client([current.url])
        const { close, events } = self
        const transient: Array<number> = []
        const persistent: Array<number> = []
        const live: Array<number> = []
        const follow = (positions: Array<number>, options: { readonly name?: string; readonly startFrom?: "origin" }) =>
          Effect.forkScoped(
            Stream.runForEach(events.subscribe("flights", options), ({ ack, event }) => {
              positions.push(event.globalPosition)
              return Effect.ignore(ack)
            })
          )
        yield* follow(transient, { startFrom: "origin" })
        yield* follow(persistent, { name: "board" })
        const reached = (positions: Array<number>, position: number) =>
          Effect.sleep("5 millis").pipe(
            Effect.repeat({ until: () => positions.includes(position) }),
            Effect.timeout("10 seconds")
          )
        yield* follow(live, {})
        yield* reached(transient, 19)
        let n = 20
        for (let round = 0; round < 4; round++) {
          const next = yield* another(services, self)
          yield* Effect.all([
            current.close,
            Effect.forEach(range(n, n + 50), (m) => store.appendEvents("flights", "SEA", counted(m, m + 1)))
          ], { concurrency: 2 })
          n += 50
          current = next
          yield* Effect.all([reached(transient, n - 1), reached(persistent, n - 1), reached(live, n - 1)])
        }
        assert.deepStrictEqual(transient, range(0, n))
        assert.deepStrictEqual([...new Set(persistent)], range(0, n))
        assert.deepStrictEqual(live, range(live[0] ?? 0, n))
        yield* close
        const second = yield* client([current.url])
        yield* store.appendEvents("flights", "SEA", counted(n, n + 1))
        const head = yield* Stream.runHead(second.events.subscribe("flights", { name: "board" })).pipe(
          Effect.timeout("10 seconds")
        )
        assert.isTrue(head._tag === "Some" && head.value.event.globalPosition >= n - 100)
      }),
    60_000
  )

  it.effect("who waits for a client that is closed is told, and so is who asks it for something later", () =>
    Effect.gen(function*() {
      const { changed } = yield* given
      for (const count of [1, 3]) {
        const begun = yield* Deferred.make<void>()
        const slow = changed(({ append }) => ({
          append: (store, wanted) =>
            wanted.eventStreamId === "SEA"
              ? append(store, wanted)
              : Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
        }))
        const { url } = yield* worker(slow)
        const { close, events } = yield* client([url])
        yield* events.appendEvents("flights", "SEA", counted(0, 1))
        const waiting = yield* Effect.forEach(
          range(0, count),
          (n) => Effect.forkChild(reasonOf(events.appendEvents("flights", `LAX-${n}`, counted(0, 1))))
        )
        yield* Deferred.await(begun)
        yield* close
        for (const fiber of waiting) {
          const reason = yield* Effect.timeout(Fiber.join(fiber), "4 seconds")
          assert.isTrue(reason._tag === "StoreUnavailable" && reason.mayBeDone)
        }
        const reason = yield* Effect.timeout(reasonOf(events.getVersion("flights", "SEA")), "4 seconds")
        assert.isTrue(reason._tag === "StoreUnavailable" && !reason.mayBeDone)
      }
    }))

  it.effect("two clients of one worker are to each other as two processes: one has a subscription, the other waits", () =>
    Effect.gen(function*() {
      const { services, store } = yield* given
      const { url } = yield* worker(services)
      const [a, b] = [yield* client([url]), yield* client([url])]
      const seen = { a: 0, b: 0 }
      const follow = (events: EventStore.EventStore["Service"], name: "a" | "b") =>
        Effect.forkScoped(Stream.runForEach(events.subscribe("flights", { name: "board" }), ({ ack }) => {
          seen[name]++
          return ack
        }))
      const first = yield* follow(a.events, "a")
      yield* store.appendEvents("flights", "SEA", counted(0, 1))
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ until: () => seen.a === 1 }), Effect.timeout("5 seconds"))
      yield* follow(b.events, "b")
      yield* store.appendEvents("flights", "SEA", counted(1, 5))
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ until: () => seen.a === 5 }), Effect.timeout("5 seconds"))
      assert.strictEqual(seen.b, 0)
      yield* Fiber.interrupt(first)
      yield* store.appendEvents("flights", "SEA", counted(5, 9))
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ until: () => seen.b === 4 }), Effect.timeout("5 seconds"))
      assert.strictEqual(seen.a, 5)
    }))
})

layer(Layer.empty, { excludeTestServices: true })("a store that does not answer", (it) => {
  it.effect("is let be after some failures, and tried again later; other stores do not feel it", () =>
    Effect.gen(function*() {
      const { changed, store } = yield* given
      yield* store.createStore("slow")
      let asked = 0
      let isSlow = true
      const { url } = yield* worker(changed((storage) => ({
        head: (id, selector) => {
          if (id !== "slow" || !isSlow) return storage.head(id, selector)
          asked++
          const detail = "no answer in time"
          const reason = new EventStoreError.StoreUnavailable({
            store: id,
            operation: "head",
            detail,
            mayBeDone: false
          })
          return Effect.fail(new EventStoreError.EventStoreError({ reason }))
        }
      })))
      const { events } = yield* client([url])
      const tags = yield* Effect.forEach(range(0, 20), () => tagOf(events.getVersion("slow", "$all")))
      assert.deepStrictEqual([...new Set(tags)], ["StoreUnavailable", "Overloaded"])
      assert.strictEqual(asked, 5)
      assert.strictEqual(yield* events.getVersion("flights", "$all"), -1)
      isSlow = false
      yield* Effect.sleep("1200 millis")
      assert.strictEqual(yield* events.getVersion("slow", "$all"), -1)
      assert.strictEqual(yield* events.getVersion("slow", "$all"), -1)
    }))

  it.effect(
    "takes up half of what a client may ask at once, and the other half is for the other stores",
    () =>
      Effect.gen(function*() {
        const { changed, store } = yield* given
        yield* store.createStore("slow")
        const { url } = yield* worker(
          changed((storage) => ({ head: (id, selector) => id === "slow" ? Effect.never : storage.head(id, selector) })),
          { limits: { requests: 8 } }
        )
        const { events } = yield* client([url], { timeout: "3 seconds" })
        const slow = yield* Effect.forkScoped(
          Effect.forEach(range(0, 20), () => tagOf(events.getVersion("slow", "$all")), { concurrency: "unbounded" })
        )
        yield* Effect.sleep("100 millis")
        const started = performance.now()
        yield* Effect.forEach(range(0, 50), () => events.getVersion("flights", "$all"), { concurrency: "unbounded" })
        assert.isBelow(performance.now() - started, 2500)
        yield* Fiber.interrupt(slow)
      }),
    20_000
  )
})
