using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// What one group has done in the background, because it waits for files, and the watch over it: when nothing of it
/// comes to an end, it is done beside the work of other groups, and after a while the group says so.
/// </summary>
/// <param name="loop">The group.</param>
/// <param name="group">In whose name the work is done.</param>
/// <param name="work">Who does it.</param>
/// <param name="logger">Who hears of a hang.</param>
internal sealed class GroupBackground(IGroupLoop loop, ReplicaGroup group, IBackgroundWork work, ILogger logger)
{
    private int _underWay;
    private long _quietSinceMs; // since when nothing of what is under way has come to an end

    /// <summary>For long nothing has come to an end.</summary>
    public bool IsStalled { get; private set; }

    /// <summary>
    /// Null, or why a file could not be written. A disk that is full or bad is no reason to end: nothing depends on the
    /// file until it is there.
    /// </summary>
    public static string? Attempt(Action write)
    {
        try
        {
            write();
            return null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return failure.Message;
        }
    }

    /// <summary>Has it done later, after what was given before; it hands its result to the loop. Any thread.</summary>
    public void Run(Action task)
    {
        if (Interlocked.Increment(ref _underWay) == 1)
        {
            Volatile.Write(ref _quietSinceMs, loop.NowMs);
        }

        work.Run(group, () =>
        {
            task();
            Volatile.Write(ref _quietSinceMs, loop.NowMs);
            Interlocked.Decrement(ref _underWay);
        });
    }

    public void LookAfter(long now)
    {
        var lastsMs = Volatile.Read(ref _underWay) == 0 ? 0 : now - Volatile.Read(ref _quietSinceMs);
        if (lastsMs >= Limits.BackgroundExpediteMs)
        {
            work.Expedite(group);
        }

        var isStalled = lastsMs >= Limits.BackgroundStallMs;
        if (isStalled && !IsStalled)
        {
            ReplicationEvents.BackgroundStalled(logger, loop.Id.Value, lastsMs);
        }

        IsStalled = isStalled;
    }
}
