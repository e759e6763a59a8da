package cloudflare_test

import (
	"testing"

	"pointsman/providers"
	"pointsman/providers/cloudflare"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

const zone = "023e105f4ecef8ad9ca31a8372d0c353"

func TestCloudflareKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "cloudflare",
		NewDouble: func() suite.Double {
			return providertest.NewCloudflare(providertest.CloudflareConfig{
				Token: suite.Canary, ZoneID: zone, MaxURLs: 30,
			})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return cloudflare.New(cloudflare.Config{
				Name: o.Name, BaseURL: o.RootURL + providertest.CloudflareBase, ZoneID: zone,
				Token: o.Token, HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}
