package edgecache_test

import (
	"testing"

	"pointsman/providers"
	"pointsman/providers/edgecache"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

func TestEdgeKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "edge",
		NewDouble: func() suite.Double {
			return providertest.NewEdge(providertest.EdgeConfig{Token: suite.Canary})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return edgecache.New(edgecache.Config{
				Name: o.Name, Nodes: []string{o.RootURL}, Token: o.Token,
				HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}
