/**
 * What has failed again and again is let be for a while, and then tried once: stores by a worker, workers by a client.
 *
 * Effect's own `CircuitBreaker` keeps an entry for every key that it was ever asked about, and keys are what clients say; this
 * one knows only what is failing. It decides without effects, as both sides ask it for each request.
 */

/** After how many failures in a row something is let be, for how long then, and for how long at most. */
export interface BreakerSettings {
  readonly failures: number
  readonly openMillis: number
  readonly maxOpenMillis: number
}

interface Failing {
  failures: number
  openUntil: number
  openMillis: number
  probing: boolean
}

export class Breaker {
  readonly #failing = new Map<string, Failing>()
  readonly #settings: BreakerSettings

  constructor(settings: BreakerSettings) {
    this.#settings = settings
  }

  /** Whether it may be tried now. Where it was let be, the one who is told so first tries for all. */
  admits(key: string, now: number): boolean {
    const failing = this.#failing.get(key)
    if (failing === undefined || failing.failures < this.#settings.failures) return true
    if (failing.probing || failing.openUntil > now) return false
    failing.probing = true
    return true
  }

  /** Whether it would be admitted, without trying. */
  isClosed(key: string, now: number): boolean {
    const failing = this.#failing.get(key)
    return failing === undefined || failing.failures < this.#settings.failures ||
      (!failing.probing && failing.openUntil <= now)
  }

  succeeded(key: string): void {
    this.#failing.delete(key)
  }

  failed(key: string, now: number): void {
    const { failures, maxOpenMillis, openMillis } = this.#settings
    const failing = this.#failing.get(key) ?? { failures: 0, openUntil: 0, openMillis, probing: false }
    this.#failing.set(key, failing)
    failing.failures++
    if (failing.failures < failures) return
    // What was under way when it was found out says nothing new.
    if (failing.openUntil > now && !failing.probing) return
    failing.openUntil = now + failing.openMillis
    failing.openMillis = Math.min(failing.openMillis * 2, maxOpenMillis)
    failing.probing = false
  }

  /** It was tried, and nobody knows how it went. */
  forgotten(key: string): void {
    const failing = this.#failing.get(key)
    if (failing !== undefined) failing.probing = false
  }

  get size(): number {
    return this.#failing.size
  }
}
