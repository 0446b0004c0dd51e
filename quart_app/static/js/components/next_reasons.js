// Why another attempt followed, or why none did, in plain words. The keys are the API's `next_reason`.

const FOLLOWED = {
  retried: ["It was tried again", "this kind of failure often passes, and the request does no harm if it is sent twice"],
  redirected: ["The redirect was followed", "the connection allows it"],
  new_token: ["It was sent once more with a new access token", "the API refused the one before"],
}

const ENDED = {
  attempts_spent: ["It was not tried again: the connection’s number of attempts was used up.", ["/policy/attempts", "Change the number of attempts"]],
  budget_spent: ["It was not tried again: at most a fifth of a connection’s calls are retries, so that an API in trouble does not get more trouble. That share was used up."],
  circuit_open: ["It was not tried again: by then most calls of the connection had failed, so its API is left in peace for half a minute."],
  method_unsafe: ["It was not tried again: a request of this method may have been acted on, and sending it twice could do the thing twice. With an idempotency key it is tried again; or allow it for the connection, if its API bears it.", ["/policy/retry_unsafe", "Allow retries of all methods"]],
  body_gone: ["It was not sent again: the body was streamed through and not kept, so it cannot be sent twice."],
  told_to_wait_too_long: ["It was not tried again: the API said to wait longer than a call may wait."],
  time_spent: ["It was not tried again: the total time of the call did not leave room for it.", ["/policy/total_seconds", "Change the total time"]],
  redirects_spent: ["The redirect was not followed: five in one call are the most. The API may be sending it in a circle."],
  redirect_refused: ["The redirect was not followed, as it is not safe: it leads from https to http, or would take the request’s body to another origin."],
}

/** {says, because, ended, fix: {field, label} | null}; null where there is nothing to say. */
export function nextOf(reason) {
  if (FOLLOWED[reason]) return { says: FOLLOWED[reason][0], because: FOLLOWED[reason][1], ended: false, fix: null }
  if (!ENDED[reason]) return null
  const [says, fix] = ENDED[reason]
  return { says, ended: true, fix: fix ? { field: fix[0], label: fix[1] } : null }
}
