/**
 * Postgres is the oracle for addresses: their order, containment and notation.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Equal } from "effect"
import { IpNetwork, NetAddress } from "effect/net"
import { SqlClient } from "effect/sql"
import { DbTypes, Inet } from "holdfast/dbtypes"
import * as support from "./support.ts"

layer(support.Oracle, { excludeTestServices: true, timeout: "60 seconds" })("addresses", (it) => {
  it.effect("every operation on two addresses answers as the server does", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { because, source } = support.random()
      const { lefts, rights } = support.pairs(source, support.inet, support.many)
      // Every other pair is of one network, more or less.
      for (let index = 0; index < rights.length; index += 2) {
        const left = lefts[index]!
        const length = source.int(0, NetAddress.width(Inet.address(left)))
        rights[index] = Inet.makeUnsafe(source.chance(0.7) ? Inet.address(left) : Inet.network(left).address, length)
      }
      const rows = yield* sql<{
        readonly a: Inet.Inet
        readonly text: string
        readonly eq: boolean
        readonly less: boolean
        readonly greater: boolean
        readonly contains: boolean
        readonly containsOrEquals: boolean
        readonly contained: boolean
        readonly overlaps: boolean
        readonly masklen: number
        readonly network: Inet.Inet
        readonly isNetwork: boolean
      }>`SELECT a, format('%s', a) AS text,
           a = b AS eq, a < b AS less, a > b AS greater, a >> b AS contains, a >>= b AS "containsOrEquals",
           a << b AS contained, a && b AS overlaps, masklen(a) AS masklen, network(a) AS network,
           set_masklen(network(a)::inet, masklen(a)) = a AS "isNetwork"
         FROM unnest(${lefts}, ${rights}) WITH ORDINALITY AS t(a, b, n) ORDER BY n`
      assert.lengthOf(rows, support.many)
      const seen = { contains: 0, overlaps: 0 }
      for (const [index, row] of rows.entries()) {
        const [a, b] = [lefts[index]!, rights[index]!]
        const what = `${a} and ${b}; ${because}`
        assert.isTrue(Equal.equals(a, row.a), what)
        assert.strictEqual(String(a), row.text, what)
        assert.isTrue(Equal.equals(Inet.fromStringUnsafe(row.text), a), what)
        assert.strictEqual(Equal.equals(a, b), row.eq, what)
        assert.strictEqual(Inet.Order(a, b), row.less ? -1 : row.greater ? 1 : 0, what)
        assert.strictEqual(DbTypes.compare(a, b), row.eq ? "eq" : row.less ? "lt" : "gt", what)
        assert.strictEqual(Inet.contains(a, b), row.contains, what)
        assert.strictEqual(Inet.contains(b, a), row.contained, what)
        assert.strictEqual(Inet.containsOrEquals(a, b), row.containsOrEquals, what)
        assert.strictEqual(Inet.overlaps(a, b), row.overlaps, what)
        assert.strictEqual(Inet.prefixLength(a), row.masklen, what)
        assert.isTrue(Equal.equals(Inet.network(a), IpNetwork.fromInterface(row.network.ipInterface)), what)
        assert.strictEqual(Inet.isNetwork(a), row.isNetwork, what)
        if (row.contains) seen.contains++
        if (row.overlaps) seen.overlaps++
      }
      assert.isAbove(seen.contains, 300, because)
      assert.isAbove(seen.overlaps, seen.contains, because)
    }))
})
