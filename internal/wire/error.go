package wire

import (
	"errors"
	"net/http"
)

// An Error is what a caller is answered when a call fails.
type Error struct {
	Code    string // such as "NotFoundException"; becomes the answer's __type
	Message string // for the caller; may be empty, and is then not sent
	Status  int    // HTTP status: 400 for the caller's fault, 500 for ours, 503 while sealed
	Reason  string // such as "INVALID_PATTERN", of the JSON services whose errors have one; else ""

	cause error // for the log only
}

// NewError returns an error with HTTP status 400.
func NewError(code, message string) *Error {
	return &Error{Code: code, Message: message, Status: http.StatusBadRequest}
}

// NewFault returns an error with HTTP status 500.
func NewFault(code, message string) *Error {
	return &Error{Code: code, Message: message, Status: http.StatusInternalServerError}
}

// Error implements error. It shows the cause, which the caller is never sent.
func (e *Error) Error() string {
	s := e.Code
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause given to [Error.WithCause], or nil.
func (e *Error) Unwrap() error { return e.cause }

// WithCause returns a copy of e that wraps cause. The cause is for the log; no
// part of it is sent.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Validation is a request that breaks a constraint of the API.
func Validation(message string) *Error { return NewError("ValidationException", message) }

// Serialization is a request body that is not JSON, is nested too deep, or
// holds a value of the wrong JSON type.
func Serialization(message string) *Error { return NewError("SerializationException", message) }

// UnknownOperation is a target that is not routed.
func UnknownOperation() *Error { return NewError("UnknownOperationException", "") }

// AccessDenied is a caller without a permission.
func AccessDenied(message string) *Error { return NewError(accessDenied, message) }

// Throttling is a caller who calls too often.
func Throttling(message string) *Error { return NewError("ThrottlingException", message) }

// Sealed is a call to a node that is sealed, or is being sealed under the call.
func Sealed() *Error {
	return &Error{
		Code: "ServiceUnavailableException", Status: http.StatusServiceUnavailable,
		Message: "This node is sealed. It serves requests once an operator has unsealed it.",
	}
}

// Internal hides cause, which is for the log, behind a KMSInternalException.
func Internal(cause error) *Error {
	return NewFault("KMSInternalException", "").WithCause(cause)
}

// AsError returns the [Error] that err is or wraps. Any other error becomes
// [Internal]; nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Internal(err)
}

const accessDenied = "AccessDeniedException"

// AppendError appends the body of an answer that carries e, such as
//
//	{"__type":"NotFoundException","message":"Alias … is not found."}
//
// An empty message is left out, and so is an empty reason. The member of the
// message is spelled "message", that of AccessDeniedException "Message", as AWS
// KMS does.
func AppendError(b []byte, e *Error) []byte {
	name := "message"
	if e.Code == accessDenied {
		name = "Message"
	}
	return appendError(b, e, name, "reason")
}

// AppendErrorCapital is [AppendError] as AWS Organizations spells the members:
// "Message" and "Reason".
func AppendErrorCapital(b []byte, e *Error) []byte {
	return appendError(b, e, "Message", "Reason")
}

func appendError(b []byte, e *Error, message, reason string) []byte {
	b = AppendString(append(b, `{"__type":`...), e.Code)
	if e.Message != "" {
		b = AppendString(AppendName(b, message), e.Message)
	}
	if e.Reason != "" {
		b = AppendString(AppendName(b, reason), e.Reason)
	}
	return append(b, '}')
}
