module github.com/seed59451c2b/osl/test/oci

go 1.26.0

replace github.com/seed59451c2b/osl => ../../

require github.com/seed59451c2b/osl v0.0.0
