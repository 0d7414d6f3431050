namespace Broker.Replication;

/// <summary>
/// Input that one thread gives in a row: the groups take it in when it is all there, so that the publishes of one
/// message become one entry; and if the loop sleeps, they do so on this very thread, when the batch ends
/// (<see cref="ReplicationLoop.TakeTurn"/>). Without a batch each input wakes the loop. The thread must hold no lock
/// that a group's callbacks could want. A ref struct, so that nothing can be awaited meanwhile.
/// </summary>
public readonly ref struct InputBatch
{
    [ThreadStatic]
    private static int _depth;

    [ThreadStatic]
    private static ReplicationLoop? _loop;

    /// <summary>Begins a batch, or joins the one that this thread has begun.</summary>
    public static InputBatch Begin()
    {
        _depth++;
        return default;
    }

    /// <summary>Ends the batch.</summary>
    public void Dispose()
    {
        if (--_depth == 0 && _loop is { } loop)
        {
            _loop = null;
            loop.TakeTurn();
        }
    }

    /// <summary>True: this thread gives a batch, at whose end the loop is told. False: tell it now.</summary>
    internal static bool TryJoin(ReplicationLoop loop)
    {
        if (_depth == 0 || (_loop ?? loop) != loop)
        {
            return false;
        }

        _loop = loop;
        return true;
    }
}
