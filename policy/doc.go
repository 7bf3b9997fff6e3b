// Package policy parses and evaluates IAM policy documents, and says why.
package policy
