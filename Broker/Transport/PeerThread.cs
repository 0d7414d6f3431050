namespace Broker.Transport;

/// <summary>Runs what blocks on a thread of its own. A node has a handful: two for each connection to a peer.</summary>
internal static class PeerThread
{
    /// <summary>Completes, or fails, as the work does.</summary>
    public static Task RunAsync(string name, Action work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            try
            {
                work();
                done.SetResult();
            }
            catch (Exception exception)
            {
                done.SetException(exception);
            }
        })
        {
            Name = name,
            IsBackground = true,
        };
        thread.Start();
        return done.Task;
    }
}
