using System.Buffers;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>The delivered records that an atomic publish finishes; mostly none.</summary>
internal sealed class FinishedRecords
{
    private readonly List<TokenOrder> _orders = [];
    private readonly List<GroupId> _shards = [];

    /// <exception cref="BrokerException">InvalidArgument: too many, or a token that nobody gave out.</exception>
    public FinishedRecords(IReadOnlyList<DeliveredRange> ranges, IConsumerGroups groups)
    {
        if (ranges.Count > Limits.RangesPerSettle)
        {
            throw Refusal.InvalidArgument(
                $"An atomic publish acknowledges at most {Limits.RangesPerSettle:N0} ranges, not {ranges.Count:N0}.");
        }

        foreach (var range in ranges.Count == 0 ? [] : SettleOrders.Of(new Ack { Ranges = { ranges } }).Named)
        {
            var (shard, order) = groups.Read(range);
            _orders.Add(order);
            _shards.Add(shard);
        }

        var records = _orders.Sum(static order => order.Token.Range.Count);
        if (records > Limits.RecordsPerStep)
        {
            throw Refusal.InvalidArgument(
                $"An atomic publish acknowledges at most {Limits.RecordsPerStep:N0} records, not {records:N0}.");
        }

        var commands = new ArrayBufferWriter<byte>();
        foreach (var topic in _orders.GroupBy(static order => (order.Group, order.Token.Topic, order.Token.Turn)))
        {
            var (group, number, turn) = topic.Key;
            GroupCommands.WriteSettle(commands, new SettleCommand(group, number, turn, Join(topic), []));
        }

        Commands = commands.WrittenMemory;
    }

    public IReadOnlyList<TokenOrder> Orders => _orders;

    /// <summary>The shards that delivered them.</summary>
    public IReadOnlyList<GroupId> Shards => _shards;

    /// <summary>What settles them, as parts of the command.</summary>
    public ReadOnlyMemory<byte> Commands { get; }

    /// <summary>Where it is applied a record was settled already, or its group went elsewhere.</summary>
    public BrokerException Lost(int topic, long offset) => Refusal.NotFinished(
    [
        (_orders.FindIndex(order => order.Token.Topic == topic && order.Token.Range.Contains(offset)), offset),
    ]);

    /// <summary>One that is named twice is finished once.</summary>
    private static List<OffsetRange> Join(IEnumerable<TokenOrder> orders)
    {
        var joined = new List<OffsetRange>();
        foreach (var range in orders.Select(static order => order.Token.Range).OrderBy(static range => range.First))
        {
            if (joined.Count > 0 && joined[^1].End >= range.First)
            {
                joined[^1] = joined[^1] with { End = Math.Max(joined[^1].End, range.End) };
            }
            else
            {
                joined.Add(range);
            }
        }

        return joined;
    }
}
