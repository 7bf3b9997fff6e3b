package kmsapi

import "slices"

// ignoresCiphertext reports whether the call only asks what is allowed, and so
// may come without a ciphertext.
func (in *DecryptInput) ignoresCiphertext() bool {
	return ignoresCiphertext(in.DryRun, in.DryRunModifiers)
}

// ignoresCiphertext is as in [DecryptInput].
func (in *ReEncryptInput) ignoresCiphertext() bool {
	return ignoresCiphertext(in.DryRun, in.DryRunModifiers)
}

func ignoresCiphertext(dryRun bool, modifiers []DryRunModifierType) bool {
	return dryRun && slices.Contains(modifiers, DryRunModifierTypeIgnoreCiphertext)
}
