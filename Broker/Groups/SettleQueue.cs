using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// What is to be committed of what has become of records, of each topic one command at a time, and who waits for it.
/// </summary>
internal sealed class SettleQueue
{
    /// <summary>How long what the shard had no room for, or could not bury, waits for another try.</summary>
    public const long RetryMs = 500;

    private readonly Queue<DispatchLane> _lanes = [];
    private readonly List<SettleAnswer> _answers = [];

    /// <summary>Something could be proposed now, or in a moment.</summary>
    public bool IsAnyToTake => _lanes.Any(static lane => lane.UnderWay is null);

    /// <summary>The batch of the topic that is committed next.</summary>
    public SettleBatch Gather(DispatchLane lane)
    {
        Queue(lane);
        return lane.Gather();
    }

    /// <summary>The next command to propose; of each topic one at a time. False: nothing is to be committed.</summary>
    public bool TryTake(long nowUnixMs, int group, out SettleCommand command)
    {
        for (var left = _lanes.Count; left > 0; left--)
        {
            var lane = _lanes.Dequeue();
            lane.IsToSettle = false;
            if (lane.IsGone || lane.UnderWay is not null || lane.Pending.First is not { } first)
            {
                continue;
            }

            if (first.Value.NotBeforeUnixMs > nowUnixMs)
            {
                Queue(lane);
                continue;
            }

            lane.Pending.RemoveFirst();
            lane.UnderWay = first.Value;
            command = new SettleCommand(group, lane.Topic, lane.Turn, first.Value.Ranges, first.Value.Deliveries);
            return true;
        }

        command = default;
        return false;
    }

    /// <summary>What came of the command that is under way; false: it is not committed.</summary>
    public bool TryEnd(DispatchLane lane, SettleBatch batch, RefusalCode code, long nowUnixMs)
    {
        lane.UnderWay = null;
        Queue(lane);
        if (code == RefusalCode.None)
        {
            return true;
        }

        // No room, or not taken: once more, which does no harm. When the group's place has changed, it is followed
        // anew in a moment.
        batch.NotBeforeUnixMs = nowUnixMs + RetryMs;
        lane.Pending.AddFirst(batch);
        return false;
    }

    /// <summary>The request is answered when what is under way for a record is committed.</summary>
    public static void Await(DispatchLane lane, long offset, OpenRequest open)
    {
        if (lane.UnderWay is { } batch && batch.Ranges.Exists(range => range.Contains(offset)))
        {
            batch.Add(open);
            return;
        }

        foreach (var pending in lane.Pending)
        {
            if (pending.Ranges.Exists(range => range.Contains(offset)))
            {
                pending.Add(open);
                return;
            }
        }
    }

    /// <summary>One of the commits that a request waits for is over: with the last one it is answered.</summary>
    public void EndOne(OpenRequest request)
    {
        request.Left--;
        Answer(request);
    }

    /// <summary>Unless it waits for something.</summary>
    public void Answer(OpenRequest request)
    {
        if (request.Left == 0)
        {
            _answers.Add(new SettleAnswer(request.Id, request.Lost));
        }
    }

    /// <summary>The topic is gone, and with it what was to be committed.</summary>
    public void AnswerAll(DispatchLane lane)
    {
        var batches = lane.UnderWay is { } batch ? lane.Pending.Prepend(batch) : lane.Pending;
        var requests = batches.SelectMany(static each => each.Requests)
            .Concat(lane.Records.Values.Select(static record => record.Request).OfType<OpenRequest>());
        foreach (var request in requests.Distinct())
        {
            request.Left = 0;
            request.Lost++;
            Answer(request);
        }
    }

    /// <summary>Takes the answers that are there.</summary>
    public IReadOnlyList<SettleAnswer> TakeAnswers()
    {
        SettleAnswer[] answers = [.. _answers];
        _answers.Clear();
        return answers;
    }

    private void Queue(DispatchLane lane)
    {
        if (!lane.IsToSettle)
        {
            lane.IsToSettle = true;
            _lanes.Enqueue(lane);
        }
    }
}

/// <summary>What is to be committed at once of what has become of a topic's records.</summary>
internal sealed class SettleBatch
{
    private const int FullAt = 8_192;

    public List<OffsetRange> Ranges { get; } = [];

    public List<DeliveryCount> Deliveries { get; } = [];

    public List<OpenRequest> Requests { get; } = [];

    public long NotBeforeUnixMs { get; set; }

    public bool IsFull => Ranges.Count + Deliveries.Count >= FullAt;

    public void Add(OffsetRange range)
    {
        if (Ranges.Count > 0 && Ranges[^1].End == range.First)
        {
            Ranges[^1] = new OffsetRange(Ranges[^1].First, range.End);
        }
        else
        {
            Ranges.Add(range);
        }
    }

    /// <summary>The request is answered when this is committed.</summary>
    public void Add(OpenRequest request)
    {
        if (Requests.Count == 0 || Requests[^1] != request)
        {
            request.Left++;
            Requests.Add(request);
        }
    }
}

/// <summary>A request to settle that is not answered yet.</summary>
internal sealed class OpenRequest(long id)
{
    public long Id => id;

    /// <summary>Commits that it waits for.</summary>
    public int Left { get; set; }

    /// <summary>Records that were not the consumer's any more.</summary>
    public int Lost { get; set; }
}
