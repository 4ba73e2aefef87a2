/**
 * An IPv4 or IPv6 address with the length of its network's prefix: Postgres's `inet`, and its `cidr`, which has no bits set
 * behind the prefix.
 *
 * It stands on Effect's `IpInterface`, which is such an address, parsed and printed; what it adds is the order, the operators
 * and the notation of Postgres.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import { dual } from "effect/Function"
import * as Hash from "effect/Hash"
import * as IpInterface from "effect/net/IpInterface"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type InvalidText, InvalidValue } from "./DbTypeError.ts"
import { oids } from "./internal/oids.ts"
import { instantiate, type SchemaClass, schemaClass, textTransformation, type Value } from "./internal/schemaClass.ts"
import { flaw, orInvalid, type Parsed } from "./internal/text.ts"

interface Fields {
  readonly ipInterface: IpInterface.IpInterface
}

/** As Postgres prints an address, which shows the IPv4 address in `::1.2.3.4`, where RFC 5952 has it in `::ffff:` alone. */
const formatAddress = (address: NetAddress.IpAddress): string => {
  if (NetAddress.isIpv6Address(address)) {
    const segments = NetAddress.ipv6ToSegments(address)
    if (segments.slice(0, 6).every((segment) => segment === 0) && segments[6] !== 0) {
      return `::${segments[6] >> 8}.${segments[6] & 255}.${segments[7] >> 8}.${segments[7] & 255}`
    }
  }
  return NetAddress.formatIp(address)
}

const formatFields = ({ ipInterface: { address, prefixLength } }: Fields): string =>
  prefixLength === NetAddress.width(address) ? formatAddress(address) : `${formatAddress(address)}/${prefixLength}`

/** The first of some places that is one. */
const first = (...places: ReadonlyArray<number>): number => Math.min(...places.filter((place) => place >= 0))

/** Where the first piece is that satisfies a predicate, or -1. */
const pieceAt = (
  text: string,
  separator: string,
  isWrong: (piece: string, index: number, isLast: boolean) => boolean
) => {
  const pieces = text.split(separator)
  let at = 0
  for (const [index, piece] of pieces.entries()) {
    if (isWrong(piece, index, index === pieces.length - 1)) return at
    at += piece.length + 1
  }
  return -1
}

/** Where an address goes wrong: the parser of Effect tells what is wrong with it, and not where. */
const placeIn = (address: string): number => {
  const isIpv6 = /^[^.]*:/.test(address)
  const alien = address.search(isIpv6 ? /[^0-9a-f:.]/i : /[^0-9.]/)
  if (alien !== -1) return alien
  if (!isIpv6) {
    return first(
      pieceAt(address, ".", (piece, index) => index > 3 || !/^(0|[1-9]\d*)$/.test(piece) || Number(piece) > 255),
      address.length
    )
  }
  const compression = address.indexOf("::")
  const isTripled = compression !== -1 && address[compression + 2] === ":"
  const segments = address.split(/[:.]/).filter((piece) => piece !== "").length - (address.includes(".") ? 2 : 0)
  return first(
    isTripled ? compression + 2 : -1,
    /^:(?!:)/.test(address) ? 0 : -1,
    compression === -1 || isTripled ? -1 : address.indexOf("::", compression + 1),
    segments >= 8 ? compression : -1,
    pieceAt(address, ":", (piece, index, isLast) =>
      piece.includes(".")
        ? !isLast || Result.isFailure(NetAddress.ipv4FromString(piece))
        : piece.length > 4 || (index > 7 && compression === -1)),
    address.length
  )
}

const parse = (text: string): Parsed<Fields> => {
  const parsed = IpInterface.fromString(text)
  if (Result.isSuccess(parsed)) return Result.succeed({ ipInterface: parsed.success })
  const slash = text.indexOf("/")
  const address = slash === -1 ? text : text.slice(0, slash)
  const isAddress = Result.isSuccess(NetAddress.ipFromString(address))
  return flaw(isAddress ? slash + 1 : placeIn(address), parsed.failure.message)
}

/**
 * An address with the length of its prefix: equal to the same address with the same length, a query parameter of type `inet`
 * as it is, made by this module's constructors.
 *
 * @since 0.1.0
 * @category models
 */
export interface Inet extends Fields, Value {}

/**
 * The schema of such addresses: it accepts them, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Inet: SchemaClass<Inet> = schemaClass<Fields>({
  identifier: "holdfast/dbtypes/Inet",
  oid: oids.inet.oid,
  fromString: (text) => orInvalid(parse(text), "inet", text),
  format: formatFields,
  equals: (self, that) => Equal.equals(self.ipInterface, that.ipInterface),
  hash: (self) => Hash.hash(self.ipInterface),
  // As the client's own codec takes it, so that an address is a parameter of every client.
  parameter: (self) => IpInterface.format(self.ipInterface)
})

const of = (ipInterface: IpInterface.IpInterface): Inet => instantiate(Inet, { ipInterface })

/**
 * Whether a value is an address of this module.
 *
 * @since 0.1.0
 * @category guards
 */
export const isInet: (u: unknown) => u is Inet = Schema.is(Inet)

/**
 * An address and the length of its prefix, which is that of the whole address where it is left out: 32 bits, or 128.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  address: NetAddress.IpAddress,
  prefixLength: number = NetAddress.width(address)
): Result.Result<Inet, InvalidValue> =>
  Result.mapBoth(IpInterface.make(address, prefixLength), {
    onSuccess: of,
    onFailure: ({ message }) =>
      new InvalidValue({ typeName: "inet", field: "prefixLength", problem: `is wrong: ${message}` })
  })

/**
 * An address and the length of its prefix, known to be right. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (address: NetAddress.IpAddress, prefixLength?: number): Inet =>
  Result.getOrThrow(make(address, prefixLength))

/**
 * The value of an `IpInterface`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromIpInterface = (ipInterface: IpInterface.IpInterface): Inet => of(ipInterface)

/**
 * The address alone.
 *
 * @since 0.1.0
 * @category getters
 */
export const address = (self: Inet): NetAddress.IpAddress => self.ipInterface.address

/**
 * How many bits are the network's: Postgres's `masklen`.
 *
 * @since 0.1.0
 * @category getters
 */
export const prefixLength = (self: Inet): number => self.ipInterface.prefixLength

/**
 * The network that an address is in: Postgres's `network`.
 *
 * @since 0.1.0
 * @category getters
 */
export const network = (self: Inet): IpNetwork.IpNetwork => IpNetwork.fromInterface(self.ipInterface)

/**
 * Whether no bit is set behind the prefix, so that the value is a `cidr` as well.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isNetwork = (self: Inet): boolean =>
  Result.isSuccess(IpNetwork.make(self.ipInterface.address, self.ipInterface.prefixLength))

const octets = (self: NetAddress.IpAddress): ReadonlyArray<number> =>
  NetAddress.isIpv4Address(self) ? NetAddress.ipv4ToOctets(self) : NetAddress.ipv6ToOctets(self)

/** Compares the first so many bits. */
const compareBits = (left: ReadonlyArray<number>, right: ReadonlyArray<number>, bits: number): -1 | 0 | 1 => {
  for (let index = 0; index * 8 < bits; index++) {
    const dropped = Math.max(0, (index + 1) * 8 - bits)
    const difference = ((left[index] ?? 0) >> dropped) - ((right[index] ?? 0) >> dropped)
    if (difference !== 0) return difference < 0 ? -1 : 1
  }
  return 0
}

/**
 * Addresses in the order of Postgres: IPv4 before IPv6, then by the bits that the two networks have in common, then the
 * larger network first, then by all bits.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<Inet> = Order_.make((self, that) => {
  const [left, right] = [self.ipInterface, that.ipInterface]
  const width = NetAddress.width(left.address)
  const otherWidth = NetAddress.width(right.address)
  if (width !== otherWidth) return width < otherWidth ? -1 : 1
  const [leftBits, rightBits] = [octets(left.address), octets(right.address)]
  const common = compareBits(leftBits, rightBits, Math.min(left.prefixLength, right.prefixLength))
  if (common !== 0) return common
  if (left.prefixLength !== right.prefixLength) return left.prefixLength < right.prefixLength ? -1 : 1
  return compareBits(leftBits, rightBits, width)
})

/**
 * Whether the network of an address contains that of another one, or is the same: Postgres's `>>=`.
 *
 * **Example** (An address in its network)
 *
 * ```ts
 * import { Inet } from "holdfast/dbtypes"
 *
 * const office = Inet.fromStringUnsafe("192.168.1.0/24")
 * console.log(Inet.containsOrEquals(office, Inet.fromStringUnsafe("192.168.1.17"))) // true
 * console.log(Inet.contains(office, office)) // false
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const containsOrEquals: {
  (that: Inet): (self: Inet) => boolean
  (self: Inet, that: Inet): boolean
} = dual(2, (self: Inet, that: Inet): boolean => IpNetwork.containsNetwork(network(self), network(that)))

/**
 * Whether the network of an address contains that of another one, and is larger: Postgres's `>>`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const contains: {
  (that: Inet): (self: Inet) => boolean
  (self: Inet, that: Inet): boolean
} = dual(
  2,
  (self: Inet, that: Inet): boolean => prefixLength(self) < prefixLength(that) && containsOrEquals(self, that)
)

/**
 * Whether the network of one address contains that of the other, or is the same: Postgres's `&&`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const overlaps: {
  (that: Inet): (self: Inet) => boolean
  (self: Inet, that: Inet): boolean
} = dual(2, (self: Inet, that: Inet): boolean => IpNetwork.overlaps(network(self), network(that)))

/**
 * Reads an address as Postgres writes it: `192.168.0.1`, `192.168.0.1/24`, `::1`, `2001:db8::/32`. One without a prefix has
 * that of the whole address.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString = (text: string): Result.Result<Inet, InvalidText> =>
  Result.map(orInvalid(parse(text), "inet", text), ({ ipInterface }) => of(ipInterface))

/**
 * Reads an address that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): Inet => Result.getOrThrow(fromString(text))

/**
 * Writes an address as Postgres does, without the prefix where it is that of the whole address.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: Inet) => string = formatFields

/**
 * A schema of such addresses whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const InetFromString: Schema.Codec<Inet, string> = Schema.String.pipe(
  Schema.decodeTo(Inet, textTransformation(fromString, format))
)
