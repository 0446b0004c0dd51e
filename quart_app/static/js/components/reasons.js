// Why a call came to nothing, in plain words, and what to do about it. The keys are the API's codes.

const REASONS = {
  egress_denied: ["The address may not be reached.", "It is on this machine, in a private network or on the list of addresses that are never called. If it is yours, edit the connection and allow private addresses."],
  dns_failed: ["The name of the host was not found.", "Look for a typing mistake in the base URL, and see whether this machine can resolve names."],
  connect_timeout: ["The host did not take the connection in time.", "It may be down, or a firewall drops the way there. Try again, or give it more time under Limits."],
  connect_failed: ["The host refused the connection.", "See whether the service is running and whether the port in the base URL is right."],
  tls_failed: ["The encrypted connection could not be made.", "The certificate may be expired, for another name, or signed by nobody this machine trusts."],
  first_byte_timeout: ["The request was sent, but no answer began in time.", "The service is slow or stuck. It may have acted on the request: look there before sending it again."],
  idle_timeout: ["The answer began, then nothing more came.", "The service stopped in mid-answer. What did come is on record below."],
  total_timeout: ["The call took longer than its time.", "Give the connection more time under Limits, or ask for less at once."],
  reset: ["The other side cut the connection.", "It may have acted on the request: look there before sending it again. If it happens often, the service or a proxy before it is restarting."],
  protocol_error: ["What came back is not HTTP as it should be.", "See whether the base URL leads to an HTTP service, and whether http:// and https:// are not swapped."],
  too_large: ["The answer is larger than a buffered call may be.", "Use the proxy, which streams answers of any size, or ask for less."],
  token_unavailable: ["No access token could be had, so nothing was sent.", "Open the token call beside this one in the history: it shows what the token endpoint said. Then check the connection."],
  circuit_open: ["Nothing was sent: this connection failed too often just now.", "It is tried again by itself within half a minute. See what the calls before this one say."],
  limit_wait: ["Nothing was sent: no place became free in time.", "The connection's limit of calls at once or per minute is reached. Wait, or raise it under Limits."],
}

const STATES = {
  sending: ["On its way.", "This page shows the answer as soon as it is there."],
  cancelled: ["The caller went away before the answer was whole.", "The request may have been acted on. Send it again if you still need the answer."],
  interrupted: ["Switchboard stopped while this call was under way.", "Whether it was sent is unknown, so it is never sent again by itself. Look at the other side, then replay it if it is missing there."],
}

/** {says, advice} of a call without a whole answer, or null. */
export function reasonOf({ state, reason }) {
  const known = state === "failed" ? REASONS[reason] ?? [`The call failed: ${reason ?? "no reason given"}.`, "Try again; if it stays, look at the log."] : STATES[state]
  return known ? { says: known[0], advice: known[1] } : null
}
