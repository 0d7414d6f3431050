using Xunit;

namespace Broker.Tests.Interop.Http;

/// <summary>Tests that share three brokers, one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class HttpCollection : ICollectionFixture<HttpBrokers>
{
    public const string Name = "http";
}
