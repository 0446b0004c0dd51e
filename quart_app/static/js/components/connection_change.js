// What the connection's form asks for, as the API takes it: only what differs from what was there.

/** Empty parts are said to be empty, so that they can be taken away; a key that is not typed anew stays. */
export function tlsOf({ verify, ca = null, certificate = null, key }) {
  return { verify, ca, certificate, ...(key ? { key } : {}) }
}

/** Without an address there is no proxy, and without a user name no password. */
export function proxyOf({ url, username = null, password } = {}) {
  if (!url) return null
  return password || !username ? { url, username, password: password ?? null } : { url, username }
}

/** Basic has a user name, also an empty one. */
export function authOf(auth) {
  return auth?.scheme === "basic" ? { username: "", ...auth } : auth
}

/** A new connection: what the form has, but of policy and ways out only what is not as it would be anyhow. */
export function created(before, { tls, proxy, policy, ...now }, metadata = {}) {
  return { ...now, metadata, policy: differing(before.policy, policy), ...differing(before, { tls, proxy }) }
}

/** Only what was changed; `auth` goes whole, with what the form does not show of it. */
export function changes(before, now, { auth }) {
  const changed = differing(before, now)
  if (changed.policy) changed.policy = differing(before.policy, now.policy)
  if (changed.auth && auth.scheme === now.auth.scheme) changed.auth = { ...unseen(auth, before.auth), ...now.auth }
  if (before.title && !now.title) changed.title = ""
  return changed
}

/** What of `now` is other than it was. */
export function differing(before, now) {
  return Object.fromEntries(Object.entries(now).filter(([key, value]) => JSON.stringify(before[key]) !== JSON.stringify(value)))
}

function unseen(auth, seen) {
  return Object.fromEntries(Object.entries(auth).filter(([key, value]) => !(key in seen) && value !== null && !value.set))
}
