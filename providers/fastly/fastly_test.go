package fastly_test

import (
	"testing"

	"pointsman/providers"
	"pointsman/providers/fastly"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

const service = "SU1Z0isxPaozGVKXdv0eY"

func TestFastlyKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "fastly",
		NewDouble: func() suite.Double {
			return providertest.NewFastly(providertest.FastlyConfig{
				Token: suite.Canary, ServiceID: service,
			})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return fastly.New(fastly.Config{
				Name: o.Name, BaseURL: o.RootURL, ServiceID: service, Token: o.Token,
				HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}
