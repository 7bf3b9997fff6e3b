package server

// Safer are the operations that may run on the audit log's reserve, by signing
// name; Everything stands for all of a service.
var Safer = safer

const Everything = everything

// IsSafer is isSafer.
var IsSafer = isSafer
