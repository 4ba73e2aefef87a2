/**
 * Placeholders in migrations: `${name}` stands for the name of a role, a schema or any other object, and is replaced by that
 * name, quoted. Nothing else is: no code runs in a migration but its SQL. `\${` is a text that is no placeholder.
 *
 * They are replaced wherever they stand, also inside a function's body or a text: `${` means nothing in SQL itself.
 */
import * as Effect from "effect/Effect"
import { identifier, isIdentifier, maxIdentifierBytes } from "./identifier.ts"
import { BindingInvalid } from "./migrationError.ts"

/** What placeholders stand for, by their names. */
export type Bindings = { readonly [name: string]: string }

const placeholder = /(\\?)\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}/g

/** The names of the placeholders in a file. */
export const placeholders = (sql: string): ReadonlySet<string> => {
  const names = new Set<string>()
  for (const [, escape, name] of sql.matchAll(placeholder)) {
    if (escape === "" && name !== undefined) {
      names.add(name)
    }
  }
  return names
}

/** The file with every placeholder replaced. All of them must be bound. */
export const bind = (sql: string, bindings: Bindings): string =>
  sql.replaceAll(
    placeholder,
    (all: string, escape: string, name: string) => escape === "" ? identifier(bindings[name] ?? "") : all.slice(1)
  )

export const checkBindings = (bindings: Bindings): Effect.Effect<void, BindingInvalid> =>
  Effect.forEach(Object.entries(bindings), ([binding, value]) =>
    isIdentifier(value)
      ? Effect.void
      : Effect.fail(new BindingInvalid({ binding, problem: `must be a name of 1 to ${maxIdentifierBytes} bytes` })), {
    discard: true
  })
