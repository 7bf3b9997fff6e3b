package main

// For the tests that use the generated package and so have its names.
var ModuleDir = moduleDir

const ModelModule = modelModule
