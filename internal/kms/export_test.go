package kms

// LayOut prints a policy document in AWS's layout.
var LayOut = layOut
