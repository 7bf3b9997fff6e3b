package oidc

// Kept returns how many issuers are kept.
func (v *Verifier) Kept() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.issuers)
}
