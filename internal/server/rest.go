package server

import (
	"net/http"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// typeREST is the content type of restJson1.
const typeREST = "application/json"

// isREST reports whether the body is said to be JSON, as in restJson1.
func isREST(r *http.Request) bool { return isOfType(r, typeREST) }

// restErrors are the statuses of restJson1 that are other than those of
// awsJson1_1: of who may not do something, or is not known.
var restErrors = map[string]int{
	"AccessDeniedException":               http.StatusForbidden,
	"ExpiredTokenException":               http.StatusForbidden,
	"IncompleteSignatureException":        http.StatusForbidden,
	"InvalidSignatureException":           http.StatusForbidden,
	"MissingAuthenticationTokenException": http.StatusForbidden,
	"ThrottlingException":                 http.StatusTooManyRequests,
	"UnrecognizedClientException":         http.StatusForbidden,
}

// inREST is e as restJson1 has it; nil stays nil.
func inREST(e *wire.Error) *wire.Error {
	if e == nil || restErrors[e.Code] == 0 {
		return e
	}
	answer := e.WithCause(e.Unwrap())
	answer.Status = restErrors[e.Code]
	return answer
}

// inTerms is e as the service of a request has it, if that is known, and its
// protocol.
func (id *identity) inTerms(e *wire.Error) *wire.Error {
	if e != nil && id.service != nil && id.service.fault != "" && e.Code == "KMSInternalException" {
		answer := e.WithCause(e.Unwrap())
		answer.Code = id.service.fault
		e = answer
	}
	if e != nil && id.unsigned && e.Code == "ExpiredTokenException" {
		return e // of what was presented instead of credentials
	}
	switch id.protocol {
	case Query:
		return inQuery(e)
	case REST:
		return inREST(e)
	}
	return e
}
