// Why a call came to nothing, in plain words, and what to do about it. The keys are the API's codes.
// A third part names what can be changed in the connection: the field of its form, and what the link to it says.

const REASONS = {
  egress_denied: ["The address may not be reached.", "Nothing was sent. Switchboard calls only what it is allowed to, so that a mistake or an attacker does not get into your network."],
  dns_failed: ["The name of the host was not found.", "Look for a typing mistake in the base URL, and see whether this machine can resolve names.", ["/base_url", "Look at the base URL"]],
  connect_timeout: ["The host did not take the connection in time.", "It may be down, or a firewall drops the way there. Try again, or give it more time.", ["/policy/connect_seconds", "Change the time to connect"]],
  connect_failed: ["The host refused the connection.", "See whether the service is running and whether the port in the base URL is right.", ["/base_url", "Look at the base URL"]],
  tls_failed: ["The encrypted connection could not be made.", "The certificate may be expired, for another name, or signed by nobody this machine trusts. If it is signed by your own authority, give its certificate to the connection.", ["/tls/ca", "Trust another authority"]],
  first_byte_timeout: ["The request was sent, but no answer began in time.", "The service is slow or stuck. It may have acted on the request: look there before sending it again.", ["/policy/first_byte_seconds", "Change how long to wait for an answer"]],
  idle_timeout: ["The answer began, then nothing more came.", "The service stopped in mid-answer. What did come is on record below.", ["/policy/idle_seconds", "Change how long to wait between pieces"]],
  total_timeout: ["The call took longer than its time.", "Give the connection more time, or ask for less at once.", ["/policy/total_seconds", "Change the total time"]],
  reset: ["The other side cut the connection.", "It may have acted on the request: look there before sending it again. If it happens often, the service or a proxy before it is restarting."],
  protocol_error: ["What came back is not HTTP as it should be.", "See whether the base URL leads to an HTTP service, and whether http:// and https:// are not swapped.", ["/base_url", "Look at the base URL"]],
  too_large: ["The answer is larger than a buffered call may be.", "Use the proxy, which streams answers of any size, or ask for less."],
  token_unavailable: ["No access token could be had, so nothing was sent.", "Open the token call beside this one in the history: it shows what the token endpoint said. Then check the connection.", ["/auth/token_url", "Look at how it signs in"]],
  circuit_open: ["Nothing was sent: this connection failed too often just now.", "At least half of its calls of the last half minute failed, so the API is left in peace. One call is tried after a pause; when it is answered, all go on by themselves."],
  limit_wait: ["Nothing was sent: it would have had to wait too long for its turn.", "Either all places of the connection are taken, or its calls per minute are used up, or the API itself said to wait.", ["/policy/concurrency", "Change the limits"]],
}

const STATES = {
  sending: ["On its way.", "This page shows the answer as soon as it is there."],
  cancelled: ["The caller went away before the answer was whole.", "The request may have been acted on. Send it again if you still need the answer."],
  interrupted: ["Switchboard stopped while this call was under way.", "Whether it was sent is unknown, so it is never sent again by itself. Look at the other side, then replay it if it is missing there."],
}

const OPENABLE = ["loopback", "private"]
/** These depend on how the connection is just now: what of its budget is worth showing beside them. */
export const PASSING = { circuit_open: ["breaker"], limit_wait: ["places", "rate", "learned", "held"] }

/** {says, advice, fix: {field, label} | null} of a call without a whole answer, or null. */
export function reasonOf({ state, reason, detail }) {
  const known = state === "failed" ? REASONS[reason] ?? [`The call failed: ${reason ?? "no reason given"}.`, "Try again; if it stays, look at the log."] : STATES[state]
  if (!known) return null
  const [says, advice, fix] = reason === "egress_denied" && state === "failed" ? egress(known, detail) : known
  return { says, advice, fix: fix ? { field: fix[0], label: fix[1] } : null }
}

/** Two rules can be lifted for a connection; the others stand for addresses that are never called. */
function egress([says, advice], detail) {
  const rule = /egress rule ([a-z_]+)/.exec(detail ?? "")?.[1]
  if (rule && !OPENABLE.includes(rule)) return [says, `${advice} A connection alone cannot allow this; what an administrator would have to add is said above.`]
  return [says, `${advice} If this is an address of yours, allow it for this connection.`, ["/policy/allow_private", "Allow private addresses for this connection"]]
}
