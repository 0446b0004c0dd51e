// The marks that stand in a record where a secret was taken out: [redacted:<role>:<fingerprint>]; old records have [redacted].
const MARK = /\[redacted(?::([a-z_0-9]+)(?:\.([a-z0-9_]+))?(?::([0-9a-f]+))?)?\]/

export const hasMark = (text) => MARK.test(text)

/** A pattern that finds each mark and nothing else, for replacing. */
export const everyMark = () => new RegExp(MARK, "g")

/**
 * The text in its pieces: strings, and {role, form, fingerprint} for each mark, null where an old one does not say.
 * The role `literal` stands for text that looked like the beginning of a mark and was none.
 */
export function pieces(text) {
  const found = []
  let from = 0
  for (const match of String(text).matchAll(everyMark())) {
    if (match.index > from) found.push(text.slice(from, match.index))
    const [whole, role = null, form = null, fingerprint = null] = match
    found.push(role === "literal" ? "[redacted" : { role, form, fingerprint })
    from = match.index + whole.length
  }
  if (from < text.length || !found.length) found.push(text.slice(from))
  return found
}

/** The fingerprints of a connection's own secrets as the API shows them: Map of role to fingerprint. */
export function fingerprintsIn({ auth = {}, tls, proxy }) {
  const shown = { ...auth, key: tls?.key, proxy_password: proxy?.password }
  return new Map(Object.entries(shown).filter(([, value]) => value?.set).map(([role, { fingerprint }]) => [role, fingerprint]))
}

/** Whether a mark is of the secret that the connection has now: "present", "other", or null where nobody can tell. */
export function ageOf({ role, fingerprint }, fingerprints) {
  const live = fingerprints?.get(role)
  if (!fingerprint || !live) return null
  return live === fingerprint ? "present" : "other"
}
