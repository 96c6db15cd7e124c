module github.com/seed59451c2b/osl/test/oci

go 1.26.0
