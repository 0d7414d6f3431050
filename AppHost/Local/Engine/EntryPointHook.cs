using System.Reflection;

namespace Aspire.Hosting.Local;

/// <summary>
/// Lets a test run the entry point of an AppHost up to Build(): the hook travels with the entry point's own thread, the
/// builder that is created there finds it, hands itself over, and ends the entry point by an exception.
/// </summary>
internal sealed class EntryPointHook
{
    private static readonly AsyncLocal<EntryPointHook?> CurrentHook = new();
    private readonly TaskCompletionSource<LocalApplicationBuilder> _built =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    public static EntryPointHook? Current => CurrentHook.Value;

    /// <summary>The assembly whose entry point runs; null for an application that a test makes from nothing.</summary>
    public Assembly? Assembly { get; private init; }

    public static Task<LocalApplicationBuilder> RunAsync(
        Assembly assembly, string[] args, CancellationToken cancellationToken)
    {
        var entryPoint = assembly.EntryPoint ?? throw new ArgumentException(
            $"The assembly '{assembly.GetName().Name}' has no entry point.", nameof(assembly));
        var hook = new EntryPointHook { Assembly = assembly };
        new Thread(() => hook.Invoke(entryPoint, args)) { IsBackground = true, Name = "entry point" }.Start();
        return hook._built.Task.WaitAsync(cancellationToken);
    }

    public void HandOver(LocalApplicationBuilder builder)
    {
        _built.TrySetResult(builder);
        throw new EntryPointEndedException();
    }

    private void Invoke(MethodInfo entryPoint, string[] args)
    {
        CurrentHook.Value = this;
        try
        {
            entryPoint.Invoke(null, entryPoint.GetParameters().Length == 0 ? [] : [args]);
            _built.TrySetException(
                new InvalidOperationException("The entry point has ended without a call of Build()."));
        }
        catch (TargetInvocationException e)
        {
            // After the hand-over this changes nothing: the task has its result.
            _built.TrySetException(e.InnerException ?? e);
        }
    }

    private sealed class EntryPointEndedException() : Exception("A test has taken over the application.");
}
