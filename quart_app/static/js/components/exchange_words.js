// The ledger's words in plain language: why a token was asked for, how that ended, and what kind of failure it was.

const CAUSES = {
  expired: "The token had ended",
  ahead: "Ahead of its end",
  refused: "The API refused the token (401)",
  asked: "A person asked for it",
  sign_in: "A person signed in",
  settled: "Left over by a stop, settled",
  in_doubt: "Tried again after a lost answer",
  spare: "With a token that had come back late",
}

/** How each state is said, and the colour of its badge. */
const STATES = {
  claimed: ["busy", "claimed"],
  sent: ["busy", "sent"],
  stored: ["good", "stored"],
  failed: ["bad", "failed"],
  in_doubt: ["warning", "in doubt"],
}

const CLASSES = {
  signed_out: "signed out by the provider",
  wrong_client: "wrong client",
  clock: "wrong clock",
  network: "network",
  provider_down: "provider in trouble",
  odd_answer: "not an answer of a token endpoint",
  storage: "the database fails",
  not_signed_in: "not signed in",
  refused: "refused by the API",
  paused: "paused",
}

export const IN_DOUBT = "The answer was lost, so nobody can know whether the provider gave a new token. The old one is tried again within the provider’s grace; the exchange after this one shows the outcome."

export const causeWords = (cause) => CAUSES[cause] ?? String(cause)
export const stateWords = (state) => STATES[state] ?? ["plain", String(state)]
export const classWords = (failure) => CLASSES[failure] ?? String(failure ?? "")
