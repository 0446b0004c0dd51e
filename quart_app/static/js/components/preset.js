// What a preset makes of a connection: its texts with the values of their variables in them.

/** The parts of a connection; a variable without a value stays as {name}, so that one sees where it belongs. */
export function partsOf(preset, values, clientId) {
  const known = { ...filledIn(values), ...filledIn({ client_id: clientId }) }
  const { base_url, auth, headers, check } = replaced({ base_url: preset.base_url, auth: preset.auth, headers: preset.headers, check: preset.check }, known)
  return { base_url, auth, headers, metadata: { preset: preset.id, ...(check ? { check } : {}) } }
}

/** The scopes that are asked for unless a person says otherwise. */
export const chosenScopes = ({ scopes }) => scopes.filter(({ chosen }) => chosen).map(({ name }) => name).join(" ")

/** A fault for each variable whose value is not as it must be. */
export function faultsOf({ variables }, values) {
  return variables.filter(({ name, pattern }) => !new RegExp(`^(?:${pattern})$`, "u").test(values[name] ?? ""))
    .map(({ name, title, example }) => ({ pointer: `/variables/${name}`, detail: `${values[name] ? "is not a" : "is required: the"} ${title}${example ? `; such as ${example}` : ""}` }))
}

const filledIn = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value))

function replaced(value, known) {
  if (typeof value === "string") return value.replace(/\{([a-z][a-z0-9_]*)\}/g, (whole, name) => (Object.hasOwn(known, name) ? known[name] : whole))
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, replaced(part, known)]))
}
