// What an attempt waited for before it went, in plain words. The keys are the API's `wait_reason`.

const WAITS = {
  concurrency: ["a free place", "All places of the connection were taken by other calls.", ["/policy/concurrency", "Change how many calls go at once"]],
  rate: ["the declared rate", "The connection had sent as many calls in a minute as it is set to.", ["/policy/per_minute", "Change the calls per minute"]],
  told: ["the API said so", "The API said to wait (Retry-After or its rate-limit headers), and Switchboard did."],
  backoff: ["pause before a retry", "A short pause of random length, so that calls that failed together do not come back together."],
  token: ["a new token", "The access token had to be renewed first."],
}

/** {label, because, fix: {field, label} | null}; of an unknown or no reason only that it waited. */
export function waitOf(reason) {
  const [label, because, fix] = WAITS[reason] ?? ["its turn", "It had to wait before it could be sent."]
  return { label, because, fix: fix ? { field: fix[0], label: fix[1] } : null }
}
