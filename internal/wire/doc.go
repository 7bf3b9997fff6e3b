// Package wire speaks awsJson1_1, the protocol of AWS KMS: JSON bodies whose
// blobs are base64 strings and whose times are seconds since 1970.
//
// A [Reader] walks a request body without reflection and without recursion on
// what it is sent; the Append functions write an answer into a caller's buffer;
// [Violations] collects the texts of a ValidationException; an [Error] is what
// a caller is answered. Generated packages put them together.
//
// The protocol is described at
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html.
package wire
