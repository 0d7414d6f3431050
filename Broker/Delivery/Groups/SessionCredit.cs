namespace Broker.Delivery;

/// <summary>
/// Divides a consumer's credit among the shards: what all may send together is never more than the consumer said.
/// Idle shards hold some of it, so that a record there is sent at once; one that has more to send than it may asks, and
/// gets what is left, or what the others give back. Not for two threads at a time.
/// </summary>
internal sealed class SessionCredit
{
    private readonly List<ShardCredit> _shards = [];
    private int _records;
    private long _bytes;

    /// <summary>Takes a shard in; it gets its part when it is opened.</summary>
    public ShardCredit Add(Action<int, long> give, Action recall)
    {
        var shard = new ShardCredit(give, recall);
        _shards.Add(shard);
        return shard;
    }

    /// <summary>The consumer may be sent so much more.</summary>
    public void Add(int records, long bytes)
    {
        _records += records;
        _bytes += bytes;
        Divide();
    }

    /// <summary>The shard can send from now on.</summary>
    public void Opened(ShardCredit shard)
    {
        shard.IsOpen = true;
        Divide();
    }

    /// <summary>The shard sends no more: the others may send what it has not.</summary>
    public void Closed(ShardCredit shard)
    {
        shard.IsOpen = false;
        (shard.IsHungry, shard.IsRecalled) = (false, false);
        TakeBack(shard, shard.Records, shard.Bytes);
    }

    /// <summary>The shard has sent something.</summary>
    public static void Sent(ShardCredit shard, int records, long bytes)
    {
        shard.Records -= records;
        shard.Bytes -= bytes;
    }

    /// <summary>The shard has more to send than it may.</summary>
    public void Wants(ShardCredit shard)
    {
        if (shard.IsOpen)
        {
            shard.IsHungry = true;
            Divide();
            RecallForHungry();
        }
    }

    /// <summary>The shard gives back what it had.</summary>
    public void Returned(ShardCredit shard, int records, long bytes)
    {
        if (shard.IsOpen)
        {
            shard.IsRecalled = false;
            TakeBack(shard, records, bytes);
        }
    }

    /// <summary>
    /// An idle shard may have what another one needs; or one that asked before it heard of what it was given, and has
    /// no use for it now.
    /// </summary>
    private void RecallForHungry()
    {
        ShardCredit? richest = null;
        foreach (var shard in _shards)
        {
            if (shard is { IsOpen: true, IsRecalled: false, Records: > 0 }
                && _shards.Exists(other => other is { IsOpen: true, IsHungry: true } && other != shard)
                && (richest is null || Rank(shard).CompareTo(Rank(richest)) > 0))
            {
                richest = shard;
            }
        }

        if (richest is not null)
        {
            richest.IsRecalled = true;
            richest.Recall();
        }
    }

    private static (bool IsIdle, int Records) Rank(ShardCredit shard) => (!shard.IsHungry, shard.Records);

    private void TakeBack(ShardCredit shard, int records, long bytes)
    {
        shard.Records -= records;
        shard.Bytes -= bytes;
        Add(records, bytes);
    }

    private void Divide()
    {
        var hungry = _shards.Count(static shard => shard is { IsOpen: true, IsHungry: true });
        var left = hungry;
        foreach (var shard in _shards)
        {
            if (shard is { IsOpen: true, IsHungry: true } && _records > 0 && _bytes > 0)
            {
                // All of it: each part of what a shard sends costs about the same, however small. One that asks later
                // gets its part of what comes back next.
                Give(shard, Math.Max(1, _records / left));
                shard.IsHungry = false;
                left--;
            }
        }

        if (hungry > 0)
        {
            return;
        }

        var open = _shards.Count(static shard => shard.IsOpen);
        var all = _records + _shards.Sum(static shard => shard.Records);
        var share = open == 0 ? 0 : all / open;
        foreach (var shard in _shards)
        {
            // In few and large parts: each is a message.
            var isShort = shard.Records <= share / 2 || shard.Bytes <= 0;
            if (shard is { IsOpen: true, IsRecalled: false } && isShort && share > 0 && _records > 0 && _bytes > 0)
            {
                Give(shard, Math.Clamp(share - shard.Records, 1, _records));
            }
        }
    }

    private void Give(ShardCredit shard, int records)
    {
        // One that has sent a large record more than it was allowed to makes up for that first.
        var bytes = records == _records ? _bytes : Math.Max(1, (long)((double)_bytes * records / _records));
        if (shard.Bytes < 0)
        {
            bytes = Math.Max(bytes, Math.Min(_bytes, 1 - shard.Bytes));
        }

        _records -= records;
        _bytes -= bytes;
        shard.Records += records;
        shard.Bytes += bytes;
        shard.Give(records, bytes);
    }
}

/// <summary>What one shard may still send a consumer.</summary>
internal sealed class ShardCredit(Action<int, long> give, Action recall)
{
    public int Records { get; set; }

    public long Bytes { get; set; }

    public bool IsOpen { get; set; }

    /// <summary>It has more to send, and asked for more.</summary>
    public bool IsHungry { get; set; }

    /// <summary>It was asked for what it has left.</summary>
    public bool IsRecalled { get; set; }

    public Action<int, long> Give { get; } = give;

    public Action Recall { get; } = recall;
}
