package server

import (
	"net/http"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// formType is the content type of the query protocol's requests.
const formType = "application/x-www-form-urlencoded"

// isForm reports whether the body is said to be of the query protocol.
func isForm(r *http.Request) bool { return isOfType(r, formType) }

// space is the namespace of an answer to a request whose service is known.
func (id *identity) space() string {
	if id.service == nil {
		return ""
	}
	return id.service.space
}

// unknownAction is what the query protocol answers for an operation that is not
// routed.
func unknownAction(action, version string) *wire.Error {
	if action == "" {
		return wire.NewError("MissingAction", "The request must contain the parameter Action.")
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return wire.NewError("InvalidAction", "Could not find operation "+action+" for version "+version)
}

// queryErrors is how the query protocol answers what the JSON protocol has
// another code for: the errors of the door, and those that are the same for all
// services. An empty message stays as it is.
var queryErrors = map[string]struct {
	code    string
	status  int
	message string
}{
	"AccessDeniedException":               {"AccessDenied", http.StatusForbidden, ""},
	"ExpiredTokenException":               {"ExpiredToken", http.StatusForbidden, ""},
	"IncompleteSignatureException":        {"IncompleteSignature", http.StatusBadRequest, ""},
	"InvalidSignatureException":           {"SignatureDoesNotMatch", http.StatusForbidden, ""},
	"KMSInternalException":                {"InternalFailure", http.StatusInternalServerError, "The request processing has failed because of an unknown error."},
	"MissingAuthenticationTokenException": {"MissingAuthenticationToken", http.StatusForbidden, "Request is missing Authentication Token"},
	"RequestEntityTooLargeException":      {"RequestEntityTooLarge", http.StatusRequestEntityTooLarge, ""},
	"RequestTimeoutException":             {"RequestTimeout", http.StatusRequestTimeout, ""},
	"SerializationException":              {"MalformedInput", http.StatusBadRequest, ""},
	"ServiceUnavailableException":         {"ServiceUnavailable", http.StatusServiceUnavailable, ""},
	"ThrottlingException":                 {"Throttling", http.StatusBadRequest, ""},
	"UnknownOperationException":           {"InvalidAction", http.StatusNotFound, "There is no such operation."},
	"UnrecognizedClientException":         {"InvalidClientTokenId", http.StatusForbidden, ""},
	"ValidationException":                 {"ValidationError", http.StatusBadRequest, ""},
}

// inQuery is e as the query protocol has it; nil stays nil.
func inQuery(e *wire.Error) *wire.Error {
	if e == nil {
		return nil
	}
	q, ok := queryErrors[e.Code]
	if !ok {
		return e
	}
	answer := e.WithCause(e.Unwrap())
	answer.Code, answer.Status = q.code, q.status
	if q.message != "" {
		answer.Message = q.message
	}
	return answer
}
