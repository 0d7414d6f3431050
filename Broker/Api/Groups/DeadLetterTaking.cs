using System.Globalization;
using Broker.ClusterState;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Takes a group's dead letters out of all shards, in small steps where a rate is to be kept: those that there were
/// when it began, so that what dies again is not taken again and again. Whoever asks again, with its token, goes on.
/// </summary>
/// <param name="groups">The shards' leaders.</param>
/// <param name="shards">Which partition each shard has.</param>
/// <param name="group">The group's name.</param>
/// <param name="positions">Which ones; empty: all.</param>
/// <param name="isPurge">They are removed, not redriven.</param>
/// <param name="time">The clock.</param>
internal sealed class DeadLetterTaking(
    IConsumerGroups groups,
    ShardMap shards,
    string group,
    IReadOnlyCollection<DeadLetterPosition> positions,
    bool isPurge,
    TimeProvider time)
{
    /// <summary>How often something is taken; without a rate, how long is waited for room for more.</summary>
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(100);

    /// <summary>What a rate allows in this time may be taken at once, after a late step or a new leader.</summary>
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(250);

    private readonly Part[] _parts =
    [
        .. groups.Shards
            .Select(shard => (Shard: shard, DeadLetters.PlaceOf(group, shard, shards).Partition))
            .Select(each => new Part(
                each.Shard,
                each.Partition,
                [.. positions.Where(one => one.Partition == each.Partition).Select(static one => one.Offset)]))
            .OrderBy(static each => each.Partition),
    ];

    /// <summary>Dead letters that were taken.</summary>
    public long Count { get; private set; }

    /// <summary>Those that are left to take.</summary>
    public long Remaining => _parts.Sum(static part => part.Left);

    /// <summary>Says where each partition ended when it began.</summary>
    public string Token => string.Join(',', _parts.Select(static part => part.End ?? 0));

    /// <exception cref="BrokerException">InvalidArgument: no broker gives such a token.</exception>
    public void ReadToken(string token)
    {
        var ends = token.Split(',');
        for (var i = 0; i < _parts.Length; i++)
        {
            _parts[i].End = ends.Length == _parts.Length
                && long.TryParse(ends[i], NumberStyles.None, CultureInfo.InvariantCulture, out var end)
                ? end
                : throw Refusal.InvalidArgument(
                    "continue_token is none that a broker has given; take it as it is from the answer before.");
        }
    }

    /// <summary>Takes what there is, or what can be taken in some time.</summary>
    /// <exception cref="BrokerException">NotFound; NoLeader, and nothing was taken.</exception>
    public async Task RunAsync(ConsumerGroup of, uint? rate, int mostMs, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        try
        {
            // First what there is: it does not grow while it is taken.
            await Task.WhenAll(_parts.Select(part => TakeAsync(of, part, 0, cancellationToken)));
            var (allowed, at) = (0d, began);
            while (Remaining > 0 && time.GetElapsedTime(began).TotalMilliseconds < mostMs)
            {
                if (rate is { } perSecond)
                {
                    var now = time.GetTimestamp();
                    var more = perSecond * time.GetElapsedTime(at, now).TotalSeconds;
                    allowed = Math.Min(allowed + more, Math.Max(1, perSecond * Burst.TotalSeconds));
                    at = now;
                }

                var taken = await TakeAsync(of, rate is null ? int.MaxValue : (int)allowed, cancellationToken);
                allowed -= taken;
                if (Remaining > 0 && (rate is not null || taken == 0))
                {
                    var next = rate is > 0 ? TimeSpan.FromSeconds((1 - allowed) / rate.Value) : Step;
                    await Task.Delay(next > Step ? next : Step, time, cancellationToken);
                }
            }
        }
        catch (BrokerException refusal) when (Count > 0 && refusal.Code != RefusalCode.NotFound)
        {
            // What is done is told; the next call hears what is wrong, if it still is.
        }
    }

    private async Task<long> TakeAsync(ConsumerGroup of, int most, CancellationToken cancellationToken)
    {
        var taken = 0L;
        foreach (var part in _parts)
        {
            if (part.Left > 0 && taken < most)
            {
                taken += await TakeAsync(of, part, (int)(most - taken), cancellationToken);
            }
        }

        return taken;
    }

    private async Task<long> TakeAsync(ConsumerGroup of, Part part, int most, CancellationToken cancellationToken)
    {
        if (positions.Count > 0 && part.Offsets.Count == 0)
        {
            return 0;
        }

        var taken = await groups.TakeDeadLettersAsync(
            of, part.Shard, new DeadOrder(part.Offsets, part.End, most, isPurge), cancellationToken);
        (part.Left, part.End) = (taken.Left, taken.End);
        Count += taken.Count;
        return taken.Count;
    }

    private sealed class Part(GroupId shard, int partition, IReadOnlyList<long> offsets)
    {
        public GroupId Shard => shard;

        public int Partition => partition;

        public IReadOnlyList<long> Offsets => offsets;

        /// <summary>Behind those that there were when it began; null: not known yet.</summary>
        public long? End { get; set; }

        public long Left { get; set; }
    }
}
