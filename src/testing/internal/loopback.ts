/**
 * The loopback interface: the only place where an embedded server is heard. Which port is free there, and whether a Postgres
 * answers.
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"

/** The address of the interface. */
export const host = "127.0.0.1"

/** A port that nobody listens on, at this moment. Fails with a sentence. */
export const freePort: Effect.Effect<number, string> = Effect.callback((resume) => {
  const server = Net.createServer()
  server.once("error", (error) => resume(Effect.fail(error.message)))
  server.listen(0, host, () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
  return Effect.sync(() => server.close())
})

/**
 * Whether a Postgres answers on a port. A connection alone says nothing: the system accepts it for a process that is about
 * to end.
 */
export const answers = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = Net.connect(port, host)
    const settle = (answer: boolean) => {
      socket.destroy()
      resume(Effect.succeed(answer))
    }
    // The protocol's shortest question, whether to encrypt, is answered by one letter.
    socket.once("connect", () => socket.write(Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)))
    socket.once("data", () => settle(true))
    socket.once("close", () => settle(false))
    socket.on("error", () => settle(false))
    return Effect.sync(() => socket.destroy())
  })
