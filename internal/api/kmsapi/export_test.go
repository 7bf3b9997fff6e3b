package kmsapi

// Wipe wipes the secrets of a message, for tests of messages that are not
// routed.
func Wipe(m any) { m.(interface{ wipe() }).wipe() }
