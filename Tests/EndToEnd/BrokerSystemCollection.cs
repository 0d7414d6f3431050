using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>
/// Tests with <c>[Collection(BrokerSystemCollection.Name)]</c> share one running system, and run one after the other.
/// </summary>
[CollectionDefinition(Name)]
public sealed class BrokerSystemCollection : ICollectionFixture<BrokerSystem>
{
    public const string Name = "broker system";
}
