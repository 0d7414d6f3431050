using System.Diagnostics;
using System.Globalization;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.DependencyInjection;

namespace Aspire.Hosting;

/// <summary>Buttons on the dashboard that hurt a process, to see what the others make of it.</summary>
public static class FaultCommandExtensions
{
    /// <summary>
    /// Adds the commands "kill" (-9) and, where this is not Windows, "pause" and "resume" (SIGSTOP, SIGCONT) to what
    /// runs as a process of this machine. The nodes of
    /// <see cref="BrokerResourceBuilderExtensions.AddBroker"/> have them.
    /// </summary>
    /// <param name="resource">The resource.</param>
    /// <typeparam name="T">Its type.</typeparam>
    /// <returns>The resource.</returns>
    public static IResourceBuilder<T> WithFaultCommands<T>(this IResourceBuilder<T> resource)
        where T : IResource
    {
        resource.WithProcessCommand(
            "kill", "Kill -9", "Dismiss", "The process ends at once. Start brings it back.", KillAsync);
        return OperatingSystem.IsWindows() ? resource : resource
            .WithSignal("pause", "Pause", "STOP", "SIGSTOP: the process stands still, its connections stay open.")
            .WithSignal("resume", "Resume", "CONT", "SIGCONT: a paused process goes on.");
    }

    private static IResourceBuilder<T> WithSignal<T>(
        this IResourceBuilder<T> resource, string name, string displayName, string signal, string description)
        where T : IResource => resource.WithProcessCommand(
        name,
        displayName,
        signal == "STOP" ? "Pause" : "Play",
        description,
        (processId, token) => SignalAsync(signal, processId, token));

    private static IResourceBuilder<T> WithProcessCommand<T>(
        this IResourceBuilder<T> resource,
        string name,
        string displayName,
        string icon,
        string description,
        Func<int, CancellationToken, Task<ExecuteCommandResult>> act)
        where T : IResource => resource.WithCommand(
        name,
        displayName,
        context =>
        {
            var notifications = context.Services.GetRequiredService<ResourceNotificationService>();
            return ProcessIdOf(notifications, context.ResourceName) is { } processId
                ? act(processId, context.CancellationToken)
                : Task.FromResult(CommandResults.Failure("The process does not run."));
        },
        new CommandOptions
        {
            Description = description,
            IconName = icon,
            UpdateState = static context => context.ResourceSnapshot.State?.Text == KnownResourceStates.Running
                ? ResourceCommandState.Enabled
                : ResourceCommandState.Disabled,
        });

    private static Task<ExecuteCommandResult> KillAsync(int processId, CancellationToken cancellationToken)
    {
        try
        {
            using var process = Process.GetProcessById(processId);
            process.Kill();
            return Task.FromResult(CommandResults.Success());
        }
        catch (ArgumentException)
        {
            return Task.FromResult(CommandResults.Failure("The process does not run."));
        }
    }

    private static async Task<ExecuteCommandResult> SignalAsync(
        string signal, int processId, CancellationToken cancellationToken)
    {
        using var kill = Process.Start(new ProcessStartInfo(
            "kill", [$"-{signal}", processId.ToString(CultureInfo.InvariantCulture)])
        {
            RedirectStandardError = true,
        })!;
        var error = await kill.StandardError.ReadToEndAsync(cancellationToken);
        await kill.WaitForExitAsync(cancellationToken);
        return kill.ExitCode == 0 ? CommandResults.Success() : CommandResults.Failure(error.Trim());
    }

    private static int? ProcessIdOf(ResourceNotificationService notifications, string resourceId) =>
        notifications.TryGetCurrentState(resourceId, out var current)
        && current.Snapshot.State?.Text == KnownResourceStates.Running
        && current.Snapshot.Properties.FirstOrDefault(static one => one.Name == "executable.pid")?.Value is { } id
            ? Convert.ToInt32(id, CultureInfo.InvariantCulture)
            : null;
}
