using Broker.Cluster;
using Broker.ServiceDefaults;
using Microsoft.Extensions.Configuration;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

public sealed class ClusterOptionsTests
{
    [Fact]
    public void What_is_not_set_has_its_documented_value()
    {
        var options = From();

        Assert.Equal(
            (3, 64L << 20, 512L << 20, 64L << 20, null),
            (options.DataShards, options.SegmentBytes, options.DiskReserveBytes, options.TransferBytesPerSecond,
                options.EvictAfter));
    }

    [Theory]
    [InlineData("DataShards", "1", "256")]
    [InlineData("SegmentBytes", "65536", "1073741824")]
    [InlineData("DiskReserveBytes", "0", "2305843009213693951")]
    [InlineData("TransferBytesPerSecond", "4194304", "9223372036854775807")]
    [InlineData("EvictAfter", "00:00:05", "365.00:00:00")]
    public void The_least_and_the_most_of_a_setting_are_taken(string name, string least, string most)
    {
        From(($"Broker:{name}", least));
        From(($"Broker:{name}", most));
    }

    [Theory]
    [InlineData("DataShards", "0", "from 1 to 256")]
    [InlineData("DataShards", "257", "from 1 to 256")]
    [InlineData("SegmentBytes", "65535", "from 65536 (64 KiB)")]
    [InlineData("SegmentBytes", "1073741825", "(1 GiB)")]
    [InlineData("DiskReserveBytes", "-1", "from 0 (no reserve)")]
    [InlineData("TransferBytesPerSecond", "4194303", "4194304 (4 MiB) or more")]
    [InlineData("EvictAfter", "5", "a time such as 00:10:00")]
    [InlineData("EvictAfter", "00:00:04", "at least 00:00:05")]
    public void A_setting_out_of_bounds_is_told_with_its_value_and_what_it_must_be(
        string name, string value, string mustBe)
    {
        var refusal = Assert.Throws<StartupException>(() => From(($"Broker:{name}", value)));

        Assert.Contains($"Broker:{name} is", refusal.Message, StringComparison.Ordinal);
        Assert.Contains(value, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(mustBe, refusal.Message, StringComparison.Ordinal);
    }

    private static ClusterOptions From(params (string Key, string Value)[] settings) =>
        ClusterOptions.From(new ConfigurationBuilder()
            .AddInMemoryCollection(settings.ToDictionary(each => each.Key, each => (string?)each.Value))
            .Build());
}
